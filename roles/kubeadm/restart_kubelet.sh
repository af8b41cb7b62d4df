# The kubelet starts anew, with the configuration that the cluster has for its version.
# $1: the folder of patches; $2: where the hash of its configuration ($3) is kept (kubelet_state.sh).
# What somebody has changed by hand is put back; kubeadm then changes what it changes from one version to the next. Until the
# kubelet has started nothing says that it has these arguments.
if ! arguments_are_as_kept "$2"; then
  rm -f "$2"
  cp "${2%/*}/kubeadm-flags.env" /var/lib/kubelet/kubeadm-flags.env.new
  sync /var/lib/kubelet/kubeadm-flags.env.new
  mv -f /var/lib/kubelet/kubeadm-flags.env.new /var/lib/kubelet/kubeadm-flags.env
fi
kubeadm upgrade node phase kubelet-config --patches "$1"
# It does not start with a note of a former policy of its.
policy=$(sed -n 's/^cpuManagerPolicy: *//p' /var/lib/kubelet/config.yaml)
state=/var/lib/kubelet/cpu_manager_state
[ ! -e "$state" ] || grep -q "\"policyName\":\"${policy:-none}\"" "$state" || rm -f "$state"
systemctl daemon-reload
systemctl restart kubelet
remember_kubelet "$2" "$3"
