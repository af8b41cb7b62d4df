# network NODE: prints whether the node's network for pods is the one that the cluster says: `same`, `another`, or `unknown` where the
# cluster does not say it. A machine whose pods were never connected has none yet, and so the same. Where another one was taken away,
# and not all pods were told since, it counts as there: their interfaces have gone with it.
network() {
  [ -e /etc/cni/net.d/10-flannel.conflist ] || { echo same; return; }
  said=$(kubectl --kubeconfig /etc/kubernetes/kubelet.conf --request-timeout=10s get node "$1" -o 'jsonpath={.spec.podCIDR}') || said=
  [ -n "$said" ] || { echo unknown; return; }
  [ ! -e /run/flannel/former-subnet.env ] || { echo another; return; }
  # flannel and the bridge have its first address: 10.233.64.1/24 of 10.233.64.0/24.
  last=${said##*.}
  address=${said%.*}.$((${last%/*} + 1))/${said#*/}
  grep -qsxF "FLANNEL_SUBNET=$address" /run/flannel/subnet.env || { echo another; return; }
  bridge=
  [ ! -e /sys/class/net/cni0 ] || bridge=$(ip -o -4 addr show dev cni0)
  case $bridge in
    '' | *" inet $address "*) echo same ;;
    *) echo another ;;
  esac
}
