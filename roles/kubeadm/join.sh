# The machine joins.
# $1: kubeadm's configuration, which holds a token: it comes with the program, and goes when kubeadm is done;
# $2: where the state of the kubelet, configured for the hash $3, is kept (kubelet_state.sh);
# $4: the certificate of the cluster's authority, which is there already; $5: whether it is a control plane (yes, or nothing).
text=$1 kubelet_stamp=$2 kubelet=$3 authority=$4 plane=$5
umask 077
config=$(mktemp /run/muster-join.XXXXXX)
said=$(mktemp /run/muster-join.XXXXXX)
trap 'rm -f "$config" "$said"' EXIT
printf '%s' "$text" >"$config"
ignore=FileAvailable-$(echo "$authority" | tr / -),Port-10250,DirAvailable--etc-kubernetes-manifests
if [ -n "$plane" ]; then
  # kubeadm writes them before the kubelet is taken in. It takes over what an attempt that was cut off has left of them, and what
  # runs of it; only its checks would complain.
  ignore=$ignore,Port-6443,Port-10257,Port-10259
  for component in kube-apiserver kube-controller-manager kube-scheduler; do
    ignore=$ignore,FileAvailable--etc-kubernetes-manifests-$component.yaml
  done
fi
systemctl enable -q kubelet
# What a kubelet of another cluster ran with is in the way.
rm -rf "$FORMER"
join() {
  # So is what an attempt that was cut off has left, and it holds nothing yet.
  rm -f /etc/kubernetes/bootstrap-kubelet.conf /etc/kubernetes/kubelet.conf
  kubeadm join --config "$config" --ignore-preflight-errors="$ignore"
}
# shellcheck disable=SC2034 # patiently.sh stands in front
pause=5
patiently join
rm -f /etc/kubernetes/discovery.conf
remember_kubelet "$kubelet_stamp" "$kubelet"
