# Sets labels of a node, in one go with the note that they are muster's; then its taints; then the note of those that are left.
node=$1 labels=$2 settled=$3; shift 3
kubectl patch node "$node" --type=merge --patch "$labels"
[ $# = 0 ] || kubectl taint --overwrite node "$node" "$@"
[ -z "$settled" ] || kubectl patch node "$node" --type=merge --patch "$settled"
