# publish CONFIG: the cluster learns its new configuration (kubeadm's), and kube-proxy runs with it. Told to the API server of this
# control plane, which has it: whatever is at the address where machines look for the API, it may be away.
publish() {
  # shellcheck disable=SC2154 # local-admin.sh stands in front
  kubeadm init phase upload-config all --config "$1" --kubeconfig "$config"
  kubeadm init phase addon kube-proxy --config "$1" --kubeconfig "$config"
  kubectl -n kube-system rollout restart daemonset/kube-proxy
  while read -r key value; do
    [ "$key" != controlPlaneEndpoint: ] || cluster_info server "https://$value"
  done <"$1"
}
