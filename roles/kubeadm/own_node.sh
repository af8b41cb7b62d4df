# Leaves in $runs the version of this machine's kubelet, and in $ready whether its node is Ready, as the cluster says it. $1: the
# node's name.
# shellcheck disable=SC2034 # what follows in the same program reads them
said=$(kubectl --kubeconfig /etc/kubernetes/kubelet.conf --request-timeout=10s get node "$1" \
  -o 'jsonpath={.status.nodeInfo.kubeletVersion} {.status.conditions[?(@.type=="Ready")].status}') || said=' '
runs=${said% *} ready=${said#* }
