# kube-proxy goes from the cluster, when cilium carries the services on every node; services.sh stands in front.
# $1: how many seconds that may take.
told=$(told_to_cilium)
[ "$told" = true ] || {
  echo 'cilium is not told to: kube-proxy-replacement in the ConfigMap kube-system/cilium-config is not true' >&2
  exit 1
}
rolled_out cilium "$1"
kubectl -n kube-system delete --ignore-not-found daemonset/kube-proxy serviceaccount/kube-proxy role/kube-proxy \
  rolebinding/kube-proxy
kubectl delete --ignore-not-found clusterrolebinding/kubeadm:node-proxier
# Last: by it is seen what was cut off. Without it kubeadm brings no kube-proxy with an upgrade.
kubectl -n kube-system delete --ignore-not-found configmap/kube-proxy
