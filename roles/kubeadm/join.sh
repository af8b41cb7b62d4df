# The machine joins.
# $1: kubeadm's configuration, which holds a token: it comes with the program, and goes when kubeadm is done;
# $2: where the hash of the kubelet's configuration ($3) is kept; $4: where that of a control plane's ($5) is kept, or nothing.
text=$1 kubelet_stamp=$2 kubelet=$3 settled=$4 hash=$5
umask 077
config=$(mktemp /run/muster-join.XXXXXX)
trap 'rm -f "$config"' EXIT
printf '%s' "$text" >"$config"
ignore=FileAvailable--etc-kubernetes-ssl-ca.crt,Port-10250,DirAvailable--etc-kubernetes-manifests
systemctl enable -q kubelet
# What an attempt that was cut off has left is in the way of the next one, and holds nothing yet.
rm -f /etc/kubernetes/bootstrap-kubelet.conf /etc/kubernetes/kubelet.conf
kubeadm join --config "$config" --ignore-preflight-errors="$ignore"
mkdir -p "${kubelet_stamp%/*}"
echo "$kubelet" >"$kubelet_stamp"
[ -z "$settled" ] || echo "$hash" >"$settled"
