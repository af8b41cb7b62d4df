# Whether each of these nodes has a pod of the test that is ready; else which of them has none, and all pods, as kubectl shows them.
label=$1; shift
seen=$(kubectl -n kube-system get pods -l "$label" --no-headers -o wide) || exit 1
without=
for node; do
  echo "$seen" | awk -v node="$node" '
    $2 == "1/1" && $3 == "Running" { for (i = 4; i <= NF; i++) if ($i == node) found = 1 }
    END { exit !found }' || without="$without $node"
done
[ -z "$without" ] || { echo "no pod is ready on:$without"; echo "$seen"; exit 1; }
