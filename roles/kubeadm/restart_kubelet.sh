# configure_kubelet PATCHES STAMP: kubeadm writes the configuration that the cluster has for the kubelet's version.
configure_kubelet() {
  # What somebody has changed by hand is put back; kubeadm then changes what it changes from one version to the next. Until the
  # kubelet has started nothing says that it has these arguments.
  if ! arguments_are_as_kept "$2"; then
    rm -f "$2"
    place "${2%/*}/kubeadm-flags.env" /var/lib/kubelet || return 1
  fi
  kubeadm upgrade node phase kubelet-config --patches "$1"
}
# start_kubelet: it starts anew.
start_kubelet() {
  # It does not start with a note of a former policy of its.
  policy=$(sed -n 's/^cpuManagerPolicy: *//p' /var/lib/kubelet/config.yaml)
  state=/var/lib/kubelet/cpu_manager_state
  [ ! -e "$state" ] || grep -q "\"policyName\":\"${policy:-none}\"" "$state" || rm -f "$state"
  # Not half of it after a power cut.
  flush $STARTS_WITH
  systemctl daemon-reload
  # systemd starts one no more that has ended again and again.
  systemctl reset-failed kubelet 2>/dev/null || :
  systemctl restart kubelet
}
