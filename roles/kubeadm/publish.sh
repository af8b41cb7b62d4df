# The cluster learns its new configuration, and kube-proxy runs with it.
# $1: kubeadm's configuration.
kubeadm init phase upload-config all --config "$1"
kubeadm init phase addon kube-proxy --config "$1"
kubectl -n kube-system rollout restart daemonset/kube-proxy
# What machines read that join by hand; kubeadm writes it only when a cluster begins.
url=
while read -r key value; do
  [ "$key" != controlPlaneEndpoint: ] || url=https://$value
done <"$1"
info=$(kubectl -n kube-public get configmap cluster-info --ignore-not-found -o 'jsonpath={.data.kubeconfig}')
if [ -n "$info" ]; then
  patch=$(
    printf 'data:\n  kubeconfig: |\n'
    printf '%s\n' "$info" | while IFS= read -r line; do
      case $line in
        *' server: '*) line="${line%% server: *} server: $url" ;;
      esac
      printf '    %s\n' "$line"
    done
  )
  kubectl -n kube-public patch configmap cluster-info --type=merge --patch "$patch"
fi
