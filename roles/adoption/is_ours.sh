# Whether muster has set up the machine, a node or one that has etcd alone, and no adoption is under way on it. $1: the mark of one.
is_ours() {
  [ ! -e "$1" ] || return 1
  [ -e /var/lib/muster/stamps/kubelet-config ] || { [ -e /var/lib/muster/stamps/etcd.service ] && [ ! -e /etc/kubernetes/kubelet.conf ]; }
}
