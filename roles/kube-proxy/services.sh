# Who carries the services of the cluster: cilium, or kube-proxy. Read-only.

# Prints true where cilium is told to.
told_to_cilium() {
  kubectl -n kube-system get configmap/cilium-config --ignore-not-found -o 'jsonpath={.data.kube-proxy-replacement}'
}

# Whether these pods of a DaemonSet (GENERATION|SEEN|WANTED|NEW|AVAILABLE) are enough where $2 nodes are not Ready.
are_enough() (
  away=$2
  IFS='|'
  # shellcheck disable=SC2086 # each of them
  set -- $1
  [ $# -ge 3 ] && [ "$1" = "$2" ] && [ $((${4:-0} + away)) -ge "$3" ] && [ $((${5:-0} + away)) -ge "$3" ]
)

# rolled_out DAEMONSET SECONDS: waits until each node that is Ready has a pod of a DaemonSet of kube-system that is ready, and of its
# newest template. One that comes back later gets such a pod then.
rolled_out() {
  counts='{.metadata.generation}|{.status.observedGeneration}|{.status.desiredNumberScheduled}'
  counts="$counts|{.status.updatedNumberScheduled}|{.status.numberAvailable}"
  for _ in $(seq "$2"); do
    pods=$(kubectl -n kube-system get "daemonset/$1" --ignore-not-found -o "jsonpath=$counts")
    nodes=$(kubectl get nodes -o 'jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}')
    away=0
    for ready in $nodes; do [ "$ready" = True ] || away=$((away + 1)); done
    ! are_enough "$pods" "$away" || return 0
    sleep 1
  done
  {
    kubectl -n kube-system get "daemonset/$1"
    echo "$1 is not ready on every node within $2 s"
  } >&2
  return 1
}
