# What a machine is in a cluster, or was in one. Read-only, and no private key is shown.
# The last line says that nothing is missing.
# $1: the folder of the cluster's certificates; $2: the folder of etcd's certificates; $3: the folder of etcd's data.
certificates=$1 etcd_certificates=$2 etcd_data=$3
say() { printf '%s %s\n' "$1" "$2"; }
# Each file is read once: to a shell, a byte of a file is a system call.
# Where a kubeconfig ($2) leads, whom it trusts, and the administrator's certificate in it.
kubeconfig() {
  [ -r "$2" ] || return 0
  say "$1" yes
  while read -r key value; do
    case $key in
      server: | certificate-authority-data:) say "$1_${key%:}" "$value" ;;
      client-certificate-data:) [ "$1" != admin ] || say "embedded $2" "$value" ;;
    esac
  done <"$2"
}
# The certificates of a PEM file ($1), without their line breaks, under a further name ($2), too, if there is one. Keys may stand in
# the same file.
certificates() {
  [ -r "$1" ] || return 0
  text='' inside=no whole=no
  while read -r line; do
    case $line in
      *'BEGIN CERTIFICATE'*) text='' inside=yes ;;
      *'END CERTIFICATE'*)
        inside=no whole=yes
        say "certificate $1" "$text"
        [ -z "$2" ] || say "$2" "$text"
        [ "$3" = all ] || return 0
        ;;
      *) [ $inside = no ] || text=$text$line ;;
    esac
  done <"$1"
  # One that is damaged.
  [ $whole = yes ] || say "certificate $1" "$text"
}
# The first of them, and all.
certificate() { certificates "$1" "${2:-}" first; }
authorities() { certificates "$1" "${2:-}" all; }
# A component's certificate within its kubeconfig.
embedded() {
  [ -r "$1" ] || return 0
  while read -r key value; do
    [ "$key" != client-certificate-data: ] || say "embedded $1" "$value"
  done <"$1"
}
# Whether a folder holds the data of a member.
data() {
  for file in "$1"/member/wal/*; do
    [ ! -e "$file" ] || { say etcd_data "$1"; break; }
  done
}

kubeconfig kubelet /etc/kubernetes/kubelet.conf
kubeconfig admin /etc/kubernetes/admin.conf
if [ -r /etc/kubernetes/api-balancer/haproxy.cfg ]; then
  while read -r key value address; do
    [ "$key" != server ] || say balanced "$address"
  done </etc/kubernetes/api-balancer/haproxy.cfg
fi
[ ! -e /var/lib/muster/stamps/kubeadm-init-begins ] || say begins yes
for interface in /sys/class/net/flannel.* /sys/class/net/vxlan.calico /sys/class/net/cilium_vxlan /sys/class/net/cilium_geneve; do
  [ ! -e "$interface" ] || say has_vxlan yes
done
[ ! -e /var/lib/muster/rotation/authorities.pem ] || say rotates yes
[ ! -e /var/lib/muster/stamps/renewing-certificates ] || say renews yes
[ ! -e /var/lib/muster/adopted/begun ] || say adopts yes
# Where the cluster was told to look for its API, the addresses of it that control planes share, and the names by which the machine
# knows it.
external=/var/lib/muster/stamps/api-endpoint
if [ -r "$external" ]; then
  while read -r line; do say external "$line"; done <"$external"
fi
for folder in /etc/kubernetes/api-vip/*; do
  [ ! -e "$folder" ] || say shares "${folder##*/}"
done
if [ -r /etc/hosts ]; then
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in *'# muster: loadbalancer_apiserver') say hosts_line "$line" ;; esac
  done </etc/hosts
fi
authorities "$certificates/ca.crt" ca
[ ! -e "$certificates/ca.key" ] || say ca_key yes
certificate /var/lib/kubelet/pki/kubelet-client-current.pem client
# `Kubernetes v1.36.3`, of a machine that was told of a cluster. A kubelet takes 50 ms to say it; so it is asked only where muster
# has not noted, when it put it there, which it is.
if [ -e /etc/kubernetes/kubelet.conf ] && kubelet=$(command -v kubelet); then
  [ ! -e "/var/lib/muster/stamps/file$kubelet" ] || say kept "bin_dir ${kubelet%/*}"
  { read -r sum state && read -r version; } <"/var/lib/muster/stamps/file$kubelet" || version=
  [ -n "$version" ] && [ "$state" = "$(stat -c '%s %Y %i' "$kubelet")" ] || version=
  [ -n "$version" ] && say kubelet_is "Kubernetes v$version" || say kubelet_is "$(kubelet --version)"
fi 2>/dev/null
if [ -e /var/lib/muster/stamps/kubeadm-init ]; then
  say settled yes
  if [ -r /etc/kubernetes/kubeadm-config.yaml ]; then
    authority=87600h
    while read -r key value; do
      case "$key $value" in
        kubernetesVersion:*) say version_told "$value" ;;
        serviceSubnet:* | podSubnet:* | dnsDomain:* | clusterName:* | certificatesDir:*) say "begun ${key%:}" "$value" ;;
        caCertificateValidityPeriod:*) authority=$value ;;
        '- name: node-cidr-mask-size'*)
          name=${value#*node-cidr-mask-size}
          read -r key value
          say "begun nodeCIDRMaskSize${name#-ipv4}" "$value"
          ;;
      esac
    done </etc/kubernetes/kubeadm-config.yaml
    say 'begun caCertificateValidityPeriod' "$authority"
  fi
fi
# What cannot change under pods that run: where the container engine has them, and how; and where they ask for names.
if [ -r /etc/containerd/config.toml ]; then
  while read -r key equals value; do
    case $key in root | state | snapshotter | SystemdCgroup) say kept "$key $value" ;; esac
  done </etc/containerd/config.toml
fi
# With several, what others left is told by preflight.
if [ -e /etc/kubernetes/kubelet.conf ]; then
  network=
  [ ! -e /etc/cni/net.d/10-flannel.conflist ] || network=$network.flannel
  [ ! -e /etc/cni/net.d/10-calico.conflist ] || network=$network.calico
  [ ! -e /etc/cni/net.d/05-cilium.conflist ] || network=$network.cilium
  case ${network#.} in
    flannel | calico | cilium) say kept "network ${network#.}" ;;
  esac
fi
if [ -r /var/lib/kubelet/config.yaml ]; then
  list=
  while read -r key value; do
    case $list$key in
      clusterDNS:) list=clusterDNS ;;
      clusterDNS-) say kept "clusterDNS $value" ;;
      *) list= ;;
    esac
  done </var/lib/kubelet/config.yaml
fi
# The hash of what its kubelet was last given to start with.
given=/var/lib/muster/stamps/kubelet-config
if [ -r "$given" ] && read -r line <"$given"; then say kubelet_given "$line"; fi
if [ -r /var/lib/kubelet/kubeadm-flags.env ]; then
  while read -r line; do say flags "$line"; done </var/lib/kubelet/kubeadm-flags.env
fi
if [ -r /etc/kubernetes/manifests/kube-apiserver.yaml ]; then
  while read -r key value; do
    case $key in
      image: | *advertise-address.endpoint:) say "apiserver_$key" "$value" ;;
    esac
    case $value in
      --encryption-provider-config=*) say encryption "${value#*=}" ;;
      --etcd-servers=*) say asks_etcd "${value#*=}" ;;
    esac
  done </etc/kubernetes/manifests/kube-apiserver.yaml
fi
# A member of etcd as kubeadm has it: a static pod, with an authority among those of the cluster.
stacked_data=
if [ -r /etc/kubernetes/manifests/etcd.yaml ]; then
  while read -r key value; do
    case $value in
      --name=*) say stacked_name "${value#*=}" ;;
      --initial-advertise-peer-urls=*) say stacked_url "${value#*=}" ;;
      --data-dir=*) stacked_data=${value#*=} ;;
    esac
    [ "$key" != image: ] || say stacked_image "$value"
  done </etc/kubernetes/manifests/etcd.yaml
  authorities "$certificates/etcd/ca.crt" stacked_ca
  [ ! -e "$certificates/etcd/ca.key" ] || say stacked_ca_key yes
fi
authorities "$etcd_certificates/ca.pem" etcd_ca
[ ! -e "$etcd_certificates/ca-key.pem" ] || say etcd_ca_key yes
configured=$etcd_data
if [ -r /etc/etcd.env ]; then
  while read -r line; do
    case $line in
      ETCD_NAME=* | ETCD_INITIAL_ADVERTISE_PEER_URLS=*) say etcd "$line" ;;
      ETCD_DATA_DIR=*) configured=${line#*=} ;;
      ETCD_TRUSTED_CA_FILE=*) say kept "etcd_cert_dir ${line#*=}" ;;
    esac
  done </etc/etcd.env
fi
# A restore of etcd that is under way, or was done last.
restore() {
  [ ! -r "$2" ] || { read -r line <"$2"; say "$1" "$line"; }
}
restore restoring /var/lib/muster/etcd-restore
restore restored /var/lib/muster/etcd-restored
# Whether something has stopped for it: until then its data lies beside the other, and etcd starts by itself (roles/etcd/restore.rs).
if [ -e /etc/kubernetes/waiting-manifests ]; then
  say restore_begun yes
elif [ -e /var/lib/muster/etcd-restore ]; then
  if [ ! -e "$configured/muster-restore/new" ] || ! systemctl is-enabled -q etcd; then say restore_begun yes; fi
fi
data "$etcd_data"
[ "$configured" = "$etcd_data" ] || data "$configured"
[ "${stacked_data:-$etcd_data}" = "$etcd_data" ] || data "$stacked_data"
authorities "$certificates/front-proxy-ca.crt"
for name in apiserver apiserver-kubelet-client front-proxy-client; do
  certificate "$certificates/$name.crt"
done
for name in member client; do certificate "$etcd_certificates/$name.pem"; done
certificate /var/lib/kubelet/pki/kubelet.crt
certificate /var/lib/kubelet/pki/kubelet-server-current.pem
for name in super-admin controller-manager scheduler; do embedded "/etc/kubernetes/$name.conf"; done
say whole yes
