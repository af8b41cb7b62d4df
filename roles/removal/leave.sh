# The machine is no part of the cluster any more: what kubeadm and muster made for it stops and goes.
# $1: the folder of the cluster's certificates; $2: the folder of etcd's certificates; $3: the folder of etcd's data.
certificates=$1 etcd_certificates=$2 etcd_data=$3
if [ -e /etc/systemd/system/etcd.service ]; then systemctl disable -q --now etcd; fi
if [ -e /etc/systemd/system/kubelet.service ]; then systemctl disable -q --now kubelet; fi
# Nothing of it is in etcd any more.
kubeadm reset --force --cert-dir "$certificates" --skip-phases=remove-etcd-member
# In the next cluster the machine has other addresses for its pods; the plugin refuses a bridge that has those of this one.
for interface in cni0 flannel.1; do
  [ ! -e "/sys/class/net/$interface" ] || ip link delete "$interface"
done
rm -rf /var/lib/cni /run/flannel /etc/cni/net.d/10-flannel.conflist
# Only what etcd has there: the folder may be a disk of its own, or hold more.
[ ! -e /etc/etcd.env ] || rm -rf "$etcd_data/member"
rm -rf "$etcd_certificates" /etc/etcd.env /etc/etcd.initial.env
rm -f /var/lib/muster/etcd-restore /var/lib/muster/etcd-restored
rm -rf /var/lib/muster/stamps/kubeadm-init /var/lib/muster/stamps/kubelet-config /var/lib/muster/stamps/kubeadm-flags.env
rm -rf /var/lib/kubelet/pki "$certificates" /etc/kubernetes
