# The kubelet starts anew, with the configuration that the cluster has for its version.
# $1: the folder of patches; $2: where the hash of its configuration ($3) is kept (kubelet_state.sh).
# What somebody has changed by hand is put back. Where more has changed, kubeadm of another version may have written the arguments.
if kubelet_is_as_configured "$2" "$3" && ! arguments_are_as_kept "$2"; then
  cp "${2%/*}/kubeadm-flags.env" /var/lib/kubelet/kubeadm-flags.env
fi
kubeadm upgrade node phase kubelet-config --patches "$1"
systemctl daemon-reload
systemctl restart kubelet
remember_kubelet "$2" "$3"
