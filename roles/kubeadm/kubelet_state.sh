# Where is what a kubelet started with before a change, until it runs with another configuration (kubelet_former.sh).
FORMER=/var/lib/muster/kubelet-before
# kubelet_state HASH: prints what the kubelet was configured with: the hash of what was wanted, and the sum of the file that came of it.
kubelet_state() {
  echo "$1"
  [ ! -e /var/lib/kubelet/config.yaml ] || sha256sum /var/lib/kubelet/config.yaml
}
# remember_kubelet FILE HASH: keeps it in FILE, and beside it a copy of the arguments that kubeadm has written. The copy comes first:
# where FILE is up to date, it is.
remember_kubelet() {
  mkdir -p "${1%/*}"
  # On the disk, too: what is missing in the copy would be taken from the kubelet.
  [ ! -e /var/lib/kubelet/kubeadm-flags.env ] || {
    cp /var/lib/kubelet/kubeadm-flags.env "${1%/*}/kubeadm-flags.env"
    sync "${1%/*}/kubeadm-flags.env"
  }
  kubelet_state "$2" >"$1"
}
# kubelet_is_as_configured FILE HASH: whether that is still so, but for the arguments.
kubelet_is_as_configured() { [ -e "$1" ] && [ "$(cat "$1")" = "$(kubelet_state "$2")" ]; }
# arguments_are_as_kept FILE: whether nobody has changed them since.
arguments_are_as_kept() {
  [ ! -e "${1%/*}/kubeadm-flags.env" ] ||
    [ "$(cat "${1%/*}/kubeadm-flags.env")" = "$(cat /var/lib/kubelet/kubeadm-flags.env)" ]
}
