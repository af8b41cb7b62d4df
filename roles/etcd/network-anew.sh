# The node's network for pods is what the cluster says it is; otherwise it is taken away, for flannel to make it anew. Prints
# `anew` where it was, `unknown` where the cluster does not say it, and `same`. $1: the node's name.
[ -e /etc/cni/net.d/10-flannel.conflist ] || { echo same; exit 0; }
network=$(kubectl --kubeconfig /etc/kubernetes/kubelet.conf --request-timeout=10s get node "$1" -o 'jsonpath={.spec.podCIDR}') || network=
[ -n "$network" ] || { echo unknown; exit 0; }
# flannel and the bridge have its first address: 10.233.64.1/24 of 10.233.64.0/24.
last=${network##*.}
address=${network%.*}.$((${last%/*} + 1))/${network#*/}
if grep -qsxF "FLANNEL_SUBNET=$address" /run/flannel/subnet.env; then echo same; exit 0; fi
rm -f /run/flannel/subnet.env
[ ! -e /sys/class/net/cni0 ] || ip link delete cni0
echo anew
