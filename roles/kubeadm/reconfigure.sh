# A control plane runs with its new configuration.
# $1: kubeadm's configuration; $2: where its hash ($3) is kept when all is done; $4: the folder of the cluster's certificates.
config=$1 settled=$2 hash=$3 certificates=$4
# A join that was cut off before its last phase left a node that is not known as a control plane.
[ -e "$settled" ] || kubeadm init phase mark-control-plane --config "$config"
# Its names and addresses may be others. The API server takes up a new one by itself.
rm -f "$certificates/apiserver.crt" "$certificates/apiserver.key"
kubeadm init phase certs apiserver --config "$config"
# Last, because the API server restarts. Whoever asks whether it is ready must not be answered by the one before.
api_server() { sha256sum /etc/kubernetes/manifests/kube-apiserver.yaml; }
api_containers() { ctr -n k8s.io containers ls -q 'labels."io.kubernetes.container.name"==kube-apiserver'; }
before=$(api_server) || before=
old=$(api_containers)
kubeadm init phase control-plane all --config "$config"
if [ "$(api_server)" != "$before" ] && systemctl is-active -q kubelet; then
  left=120
  while [ "$(api_containers)" = "$old" ] && [ "$left" -gt 0 ]; do
    left=$((left - 1))
    sleep 1
  done
fi
remember_static_pods "${settled%/*}"
echo "$hash" >"$settled"
