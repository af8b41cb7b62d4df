# What kubeadm has noted on a machine for its kubelet; muster's kubelet reads it.
flags=/var/lib/kubelet/kubeadm-flags.env engine=/var/lib/kubelet/instance-config.yaml
# is_unread: whether the kubelet runs as kubespray starts it, and so does not read it: it may be of another engine (Docker), or have
# arguments that kubelets of today do not know.
is_unread() { grep -qs /etc/kubernetes/kubelet.env /etc/systemd/system/kubelet.service; }
# arguments: prints those that are noted.
arguments() {
  said=
  if [ -r "$flags" ]; then
    while read -r line; do
      case $line in KUBELET_KUBEADM_ARGS=*) said=${line#*=} ;; esac
    done <"$flags"
  fi
  said=${said#\"}
  echo "${said%\"}"
}
# wanted ADDRESS: prints those that are to be noted. The kubelet gives an address as its node's, as it does with kubespray and as kubelets
# of muster's do.
wanted() {
  will=$(arguments)
  if is_unread; then
    kept=
    for word in $will; do
      case $word in --node-ip=* | --hostname-override=*) kept="$kept $word" ;; esac
    done
    will=${kept# }
  fi
  case " $will" in *' --node-ip='*) ;; *) will="$will --node-ip=$1" ;; esac
  echo "${will# }"
}
# is_containerd: whether the engine that is noted is the one that the kubelet has.
is_containerd() {
  is_unread || return 0
  [ -r "$engine" ] || return 1
  while read -r key value; do
    case $key$value in containerRuntimeEndpoint:*/run/containerd/containerd.sock*) return 0 ;; esac
  done <"$engine"
  return 1
}
