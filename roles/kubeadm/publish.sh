# What the cluster knows as a whole. Told to the API server of this control plane, which has it: whatever is at the address where
# machines look for the API, it may be away. $config: the administrator's kubeconfig that leads there (local-admin.sh).
# tell CONFIG: the cluster learns its new configuration (kubeadm's).
tell() {
  # shellcheck disable=SC2154 # local-admin.sh stands in front
  kubeadm init phase upload-config all --config "$1" --kubeconfig "$config"
  while read -r key value; do
    [ "$key" != controlPlaneEndpoint: ] || cluster_info server "https://$value"
  done <"$1"
}
# has_kube_proxy CONFIG: whether it is for a cluster with kube-proxy.
has_kube_proxy() { grep -qsxF 'kind: KubeProxyConfiguration' "$1"; }
# kube_proxy CONFIG: kube-proxy has it, too, where there is to be one. Its pods start anew where its version is another one.
kube_proxy() {
  has_kube_proxy "$1" || return 0
  kubeadm init phase addon kube-proxy --config "$1" --kubeconfig "$config"
}
# publish CONFIG: both, and kube-proxy runs with it.
publish() {
  tell "$1"
  kube_proxy "$1"
  ! has_kube_proxy "$1" || kubectl -n kube-system rollout restart daemonset/kube-proxy
}
