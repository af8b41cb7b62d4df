# Keeps what a machine has of the tool that has made it a node, in a folder ($1); the mark of the adoption ($2) comes last.
kept=$1 mark=$2
umask 077
mkdir -p "$kept"
for file in /etc/kubernetes/manifests/* /etc/kubernetes/kubelet.conf /etc/kubernetes/kubelet.env /etc/kubernetes/kubelet-config.yaml \
  /etc/kubernetes/kubeadm-config.yaml /var/lib/kubelet/config.yaml /var/lib/kubelet/kubeadm-flags.env /var/lib/kubelet/instance-config.yaml /etc/default/kubelet \
  /etc/systemd/system/kubelet.service /etc/systemd/system/kubelet.service.d/* /etc/systemd/system/containerd.service \
  /etc/containerd/config.toml /etc/systemd/system/etcd.service /etc/etcd.env; do
  if [ -f "$file" ]; then
    mkdir -p "$kept${file%/*}"
    cp -p "$file" "$kept$file"
    sync "$kept$file"
  fi
done
# What kubeadm knows of the cluster.
admin=/etc/kubernetes/admin.conf
if [ -e "$admin" ]; then
  kubectl --kubeconfig "$admin" --request-timeout=10s -n kube-system get configmap kubeadm-config \
    -o 'jsonpath={.data.ClusterConfiguration}' >"$kept/ClusterConfiguration"
  sync "$kept/ClusterConfiguration"
fi
: >"$mark"
sync "$mark"
