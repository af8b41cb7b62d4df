# The kubelet starts anew, with the configuration that the cluster has for its version.
# $1: the folder of patches; $2: where the hash of its configuration ($3) is kept (kubelet_state.sh).

# An API server that is here takes its leave first (arguments.rs), while others serve: to a kubelet of another minor version the pods
# of the one before are others, and it gives them a second to end. The kubelet of before must not start it again.
let_api_server_go() {
  found=$(ctr -n k8s.io containers ls -q 'labels."io.kubernetes.container.name"==kube-apiserver,labels."io.kubernetes.pod.namespace"==kube-system')
  [ -n "$found" ] || return 0
  systemctl stop kubelet
  for container in $found; do
    # Those that have ended have no task.
    ctr -n k8s.io tasks kill -s SIGTERM "$container" 2>/dev/null || :
  done
  set -- --kubeconfig /etc/kubernetes/admin.conf --request-timeout=2s
  # shellcheck disable=SC2154 # own_api_server.sh stands in front
  [ -z "$server" ] || set -- "$@" --server="$server"
  # Those who watch would hold it up for long.
  for _ in $(seq 60); do
    kubectl "$@" get --raw /version >/dev/null 2>&1 || return 0
    sleep 1
  done
}

configure_kubelet "$1" "$2"
let_api_server_go
start_kubelet
# What it had in another version is of no use to this one.
rm -rf "$FORMER"
remember_kubelet "$2" "$3"
