# What an adoption has to know of a machine beside its identity; clusters.sh, drop_ins.sh and is_ours.sh stand in front. Read-only.
# $1: the mark of an adoption.
[ ! -e "$1" ] || say begun
! is_ours "$1" || say ours
clusters
if command -v containerd >/dev/null; then say engine "$(containerd --version)"; fi
say name "$(hostname)"
# The arguments with which the kubelet runs, whoever gave them to it.
process=$(systemctl show -p MainPID --value kubelet)
if [ "${process:-0}" != 0 ] && [ -r "/proc/$process/cmdline" ]; then
  tr '\0' '\n' <"/proc/$process/cmdline" | sed '1d; s/^/kubelet /'
fi
[ ! -r /var/lib/kubelet/kubeadm-flags.env ] || sed 's/^/flags /' /var/lib/kubelet/kubeadm-flags.env
[ ! -r /var/lib/kubelet/instance-config.yaml ] || sed -n 's/^containerRuntimeEndpoint: */endpoint /p' /var/lib/kubelet/instance-config.yaml
for component in kube-apiserver kube-controller-manager kube-scheduler etcd; do
  manifest=/etc/kubernetes/manifests/$component.yaml
  [ ! -r "$manifest" ] || sed -n "s/^ *- \(--[a-z].*\)/argument $component \1/p" "$manifest"
done
