# The kubelet starts anew, with the configuration that the cluster has for its version. The pods of the control plane go on.
# $1: the folder of patches; $2: where the hash of its configuration ($3) is kept (kubelet_state.sh).
configure_kubelet "$1" "$2"
pods_outlive_kubelet "${2%/*}"
start_kubelet
# What it had in another version is of no use to this one.
rm -rf "$FORMER"
remember_kubelet "$2" "$3"
