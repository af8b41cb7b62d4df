# Keeps what a machine has of the tool that has made it a node, in a folder ($1); the mark of the adoption ($2) comes last. $3: the
# folder in which muster's programs take the place of former ones.
kept=$1 mark=$2 programs=$3
umask 077
mkdir -p "$kept"
for file in /etc/kubernetes/manifests/* /etc/kubernetes/kubelet.conf /etc/kubernetes/admin.conf /etc/kubernetes/super-admin.conf \
  /etc/kubernetes/kubelet.env /etc/kubernetes/kubelet-config.yaml /etc/kubernetes/kubeadm-config.yaml /var/lib/kubelet/config.yaml \
  /var/lib/kubelet/kubeadm-flags.env /var/lib/kubelet/instance-config.yaml /etc/default/kubelet \
  /etc/systemd/system/kubelet.service /etc/systemd/system/kubelet.service.d/* /etc/systemd/system/containerd.service \
  /etc/systemd/system/k8s-certs-renew.service /etc/systemd/system/k8s-certs-renew.timer \
  /etc/containerd/config.toml /etc/systemd/system/etcd.service /etc/etcd.env; do
  if [ -f "$file" ]; then
    mkdir -p "$kept${file%/*}"
    cp -p "$file" "$kept$file"
    sync "$kept$file"
  fi
done
# Former programs: a second name of the same file needs no room until muster's, which is renamed over it, is there.
for program in etcd etcdctl etcdutl containerd containerd-shim-runc-v2 ctr runc kubelet; do
  file=$programs/$program
  if [ -f "$file" ]; then
    mkdir -p "$kept$programs"
    rm -f "$kept$file"
    ln "$file" "$kept$file" 2>/dev/null || cp -p "$file" "$kept$file"
    sync "$kept$file"
  fi
done
# Objects of the cluster that become muster's, or go: as they can be put back. Daemons by the labels by which others.sh finds them:
# kubespray has one of flannel for each kind of processor.
admin=/etc/kubernetes/admin.conf
# objects NAMESPACE WHAT...: prints a list. Of one alone that is named there would be none.
objects() {
  namespace=$1
  shift
  kubectl --kubeconfig "$admin" --request-timeout=10s -n "$namespace" get "$@" --ignore-not-found -o yaml
}
if [ -e "$admin" ]; then
  of_all=$(objects kube-public configmap/cluster-info clusterrole/flannel clusterrolebinding/flannel clusterrole/system:coredns \
    clusterrolebinding/system:coredns)
  of_system=$(objects kube-system configmap/kubeadm-config configmap/kubelet-config configmap/kube-proxy configmap/coredns \
    configmap/nodelocaldns configmap/kube-flannel-cfg deployment/coredns deployment/dns-autoscaler service/coredns service/kube-dns)
  caches=$(objects kube-system daemonsets -l k8s-app=kube-dns)
  of_spray=$(objects kube-system daemonsets -l app=flannel)
  of_flannel=$(objects kube-flannel configmap/kube-flannel-cfg configmap/kube-flannel)
  daemons=$(objects kube-flannel daemonsets -l app=flannel)
  printf '%s\n---\n' "$of_all" "$of_system" "$caches" "$of_spray" "$of_flannel" "$daemons" |
    sed '/^    resourceVersion: /d; /^    uid: /d' >"$kept/objects.yaml"
  sync "$kept/objects.yaml"
fi
: >"$mark"
sync "$mark"
