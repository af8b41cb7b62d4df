# Evicts the pods of a node, for some seconds. Where pods are left after that it prints what look() prints, and what kubectl
# said, and ends with status 3.
# $1: the node; $2: the selector of the pods that are to move, or nothing; the others: flags of kubectl drain.
node=$1 selector=$2; shift 2
[ -z "$selector" ] || set -- --pod-selector="$selector" "$@"
said=$(kubectl drain "$node" --force --ignore-daemonsets --delete-emptydir-data "$@" 2>&1) || {
  look "$node" "$selector" || true
  printf '%s\n' "$said" | while IFS= read -r line; do printf 'said\t%s\n' "$line"; done
  exit 3
}
