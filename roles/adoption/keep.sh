# Keeps what a machine has of the tool that has made it a node, in a folder ($1); the mark of the adoption ($2) comes last.
kept=$1 mark=$2
umask 077
mkdir -p "$kept"
for path in /etc/kubernetes/manifests /etc/kubernetes/kubelet.conf /var/lib/kubelet/config.yaml /var/lib/kubelet/kubeadm-flags.env \
  /etc/systemd/system/kubelet.service /etc/systemd/system/kubelet.service.d /etc/containerd/config.toml /etc/default/kubelet; do
  [ ! -e "$path" ] || {
    mkdir -p "$kept${path%/*}"
    cp -a "$path" "$kept${path%/*}/"
  }
done
sync
: >"$mark"
sync "$mark"
