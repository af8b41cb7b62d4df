# The cluster learns its new configuration, and kube-proxy runs with it.
# $1: kubeadm's configuration.
kubeadm init phase upload-config all --config "$1"
kubeadm init phase addon kube-proxy --config "$1"
kubectl -n kube-system rollout restart daemonset/kube-proxy
