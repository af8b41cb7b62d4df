# Removes the objects of the first list, and applies those of the others: a kubectl each, at the same time. What the server
# refuses holds up nothing else.
removed=$1; shift
# A program that ends so soon need not collect its garbage, which takes a third of its time.
export GOGC=off
running='' failed=0
[ -z "$removed" ] || printf '%s' "$removed" | kubectl delete --ignore-not-found --wait=false -f - >&2 || failed=1
for manifest do
  printf '%s' "$manifest" |
    kubectl apply --server-side --force-conflicts --field-manager=muster -f - >/dev/null &
  running="$running $!"
done
for process in $running; do
  wait "$process" || failed=1
done
[ "$failed" = 0 ]
