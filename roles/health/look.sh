# How this machine is, in lines that begin with a word. $1: the units that it has to run; $2: a file that is there where the machine was
# set up; on a control plane $3: who heals the cluster, and $4: for how many seconds nobody else is to.
look
printf 'lock %s %s with %s\n' "$state" "$owner" "$command"
[ ! -e "$2" ] || echo belongs
for unit in $1; do
  echo "unit $unit $(systemctl is-active "$unit")"
done
[ -n "$3" ] || return 0

# Two that heal one cluster from different computers would undo each other's work. In /run it does not outlive the machine's start.
claim=/run/muster-reconcile until='' who=''
[ ! -r "$claim" ] || { read -r until && IFS= read -r who; } <"$claim"
case $until in '' | *[!0-9]*) until=0 ;; esac
if [ "$until" -gt "$now" ] && [ "$who" != "$3" ]; then
  echo "claimed $who"
else
  printf '%s\n%s\n' "$((now + $4))" "$3" >"$claim.$$" && mv -f "$claim.$$" "$claim"
fi

# shellcheck disable=SC2154 # own_api_server.sh stands in front
[ -z "$server" ] || set -- --server="$server"
[ -n "$server" ] || set --
if said=$(kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=10s "$@" get nodes \
  -o 'jsonpath={range .items[*]}node {.metadata.name} {.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}' 2>&1); then
  printf 'api answers\n%s\n' "$said"
else
  printf 'api %s\n' "$(printf '%s\n' "$said" | tail -n 1)"
fi
