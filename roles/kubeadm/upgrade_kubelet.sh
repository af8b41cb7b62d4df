# The kubelet starts anew, with the configuration that the cluster has for its version.
# $1: the folder of patches; $2: where the hash of its configuration ($3) is kept (kubelet_state.sh).
configure_kubelet "$1" "$2"
start_kubelet
# What it had in another version is of no use to this one.
rm -rf "$FORMER"
remember_kubelet "$2" "$3"
