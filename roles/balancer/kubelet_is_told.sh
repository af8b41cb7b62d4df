# The kubelet reads its kubeconfig when it starts. The mark is there from before it is told of another one until it has started anew:
# a run that was cut off in between is seen by it.
pending=/etc/kubernetes/kubelet.conf.moving
# replace_conf NAME: NAME.conf becomes what stands in NAME.conf.muster.
replace_conf() {
  sync "/etc/kubernetes/$1.conf.muster"
  [ "$1" != kubelet ] || : >"$pending"
  mv "/etc/kubernetes/$1.conf.muster" "/etc/kubernetes/$1.conf"
}
tell_kubelet() {
  [ -e "$pending" ] || return 0
  systemctl restart kubelet
  rm -f "$pending"
}
