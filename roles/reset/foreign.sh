# What other tools than muster have made of a machine for Kubernetes: k3s, RKE2, kubeadm by hand, kubespray and network plugins.
# $1: the folder of etcd's data that the variables name, which is seen to elsewhere.
own_data=$1

# The programs with which k3s and RKE2 take themselves away.
uninstallers() {
  for path in /usr/local/bin/k3s-uninstall.sh /usr/local/bin/k3s-agent-uninstall.sh /usr/local/bin/rke2-uninstall.sh \
    /usr/bin/rke2-uninstall.sh /opt/rke2/bin/rke2-uninstall.sh; do
    [ ! -x "$path" ] || printf '%s\n' "$path"
  done
}

# Units that run a part of Kubernetes outside of a pod.
units() {
  for unit in kube-apiserver kube-controller-manager kube-scheduler kube-proxy etcd-events calico-node flanneld; do
    [ ! -e "/etc/systemd/system/$unit.service" ] || echo "$unit"
  done
}

# Files, folders and links, each after the word for what it is. podman's networks are not a cluster's, and a drop-in that is masked is
# wanted so.
paths() {
  for path in /etc/cni/net.d/* /etc/systemd/system/kubelet.service.d/* /etc/systemd/system/etcd.service.d/* \
    /var/lib/calico /run/calico /etc/calico /var/lib/weave /var/lib/cilium /run/cilium /var/lib/kube-router \
    /var/lib/kube-proxy /etc/flannel /etc/kube-flannel /etc/etcd /etc/ssl/etcd /etc/etcd-events.env; do
    case $path in */net.d/*podman* | */net.d/*nerdctl*) continue ;; esac
    if [ -L "$path" ]; then
      [ "$(readlink "$path")" = /dev/null ] || printf 'link %s\n' "$path"
    elif [ -d "$path" ]; then
      printf 'folder %s\n' "$path"
    elif [ -e "$path" ]; then
      printf 'file %s\n' "$path"
    fi
  done
  for folder in /var/lib/etcd /var/lib/etcd-events; do
    if [ "$folder" != "$own_data" ] && [ -e "$folder/member" ]; then echo "folder $folder/member"; fi
  done
}

# Folders of drop-ins with nothing in them.
empty_drop_ins() {
  for folder in /etc/systemd/system/kubelet.service.d /etc/systemd/system/etcd.service.d; do
    if [ -d "$folder" ] && [ -z "$(ls -A "$folder")" ]; then echo "$folder"; fi
  done
}
no_empty_drop_ins() {
  for folder in $(empty_drop_ins); do rmdir "$folder"; done
  systemctl daemon-reload || :
}
