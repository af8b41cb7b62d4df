# What an adoption has to know of a machine beside its identity; clusters.sh, is_ours.sh, docker.sh, engine.sh and running.sh
# stand in front. Read-only.
# $1: the mark of an adoption.
[ ! -e "$1" ] || say begun
! is_ours "$1" || say ours
clusters
if command -v containerd >/dev/null; then say engine "$(containerd --version)" && engine; fi
say name "$(hostname)"
# The arguments with which the kubelet runs, whoever gave them to it.
process=$(systemctl show -p MainPID --value kubelet)
if [ "${process:-0}" != 0 ] && [ -r "/proc/$process/cmdline" ]; then
  tr '\0' '\n' <"/proc/$process/cmdline" | sed '1d; s/^/kubelet /'
fi
[ ! -r /var/lib/kubelet/kubeadm-flags.env ] || sed 's/^/flags /' /var/lib/kubelet/kubeadm-flags.env
[ ! -r /var/lib/kubelet/instance-config.yaml ] || sed -n 's/^containerRuntimeEndpoint: */endpoint /p' /var/lib/kubelet/instance-config.yaml
[ ! -r /var/lib/kubelet/config.yaml ] || sed 's/^/kubelet_config /' /var/lib/kubelet/config.yaml
# Whose cgroups its pods are in.
for folder in /sys/fs/cgroup /sys/fs/cgroup/memory; do
  [ ! -d "$folder/kubepods.slice" ] || say cgroups systemd
  [ ! -d "$folder/kubepods" ] || say cgroups cgroupfs
done
# What kubespray has: the kubelet's whole configuration, static pods and etcd as a unit.
[ ! -r /etc/kubernetes/kubelet-config.yaml ] || sed 's/^/config /' /etc/kubernetes/kubelet-config.yaml
for name in nginx-proxy.yml haproxy.yml kube-vip.yml kube-vip.yaml; do
  [ ! -e "/etc/kubernetes/manifests/$name" ] || say pod "${name%.*}"
done
[ ! -e /etc/etcd-events.env ] || say other /etc/etcd-events.env 'a second etcd for events'
if [ -r /etc/etcd.env ] && [ ! -e /var/lib/muster/stamps/etcd.service ]; then
  program=$(command -v etcd) && [ "$(head -c 2 "$program")" = '#!' ] && say other "$program" 'etcd in a container of Docker'
  sed -n 's/^ETCD_/unit ETCD_/p' /etc/etcd.env
  say etcd_is "$(etcd --version | sed -n 's/^etcd Version: *//p')"
  of() { sed -n "s/^ETCD_$1=//p" /etc/etcd.env; }
  said=$(ETCDCTL_API=3 etcdctl --endpoints https://127.0.0.1:2379 --cacert "$(of TRUSTED_CA_FILE)" --cert "$(of CERT_FILE)" \
    --key "$(of KEY_FILE)" endpoint health --cluster 2>&1) || printf '%s\n' "$said" | sed 's/^/unwell /'
fi 2>/dev/null
# kubeadm's etcd is asked by the program in its own container: the machine itself need not have one.
manifest=/etc/kubernetes/manifests/etcd.yaml
if [ -r "$manifest" ]; then
  given() { sed -n "s/^ *- --$1=//p" "$manifest"; }
  for id in $(of_pod etcd "$(given name)"); do
    inside() {
      ctr -n k8s.io tasks exec --exec-id "muster-$$-$1" "$id" etcdctl --command-timeout=5s --endpoints https://127.0.0.1:2379 \
        --cacert "$(given trusted-ca-file)" --cert "$(given cert-file)" --key "$(given key-file)" "$@" 2>&1 </dev/null || :
    }
    { inside member list && inside endpoint health --cluster; } | sed 's/^/static_etcd /'
  done
fi
docker
for component in kube-apiserver kube-controller-manager kube-scheduler etcd; do
  manifest=/etc/kubernetes/manifests/$component.yaml
  [ ! -r "$manifest" ] || sed "s/^/manifest $component /" "$manifest"
done
