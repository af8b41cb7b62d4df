# The kubelet starts anew, with the configuration that the cluster has for its version.
# $1: the folder of patches; $2: where the hash of its configuration ($3) is kept.
kubeadm upgrade node phase kubelet-config --patches "$1"
systemctl daemon-reload
systemctl restart kubelet
mkdir -p "${2%/*}"
kubelet_state "$3" >"$2"
