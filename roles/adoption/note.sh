# kubeadm's notes are as muster's kubelet needs them; noted.sh stands in front. $1: the address of the node.
mkdir -p "${flags%/*}"
printf 'KUBELET_KUBEADM_ARGS="%s"\n' "$(wanted "$1")" >"$flags.muster"
chmod 644 "$flags.muster"
sync "$flags.muster"
mv -f "$flags.muster" "$flags"
is_containerd || {
  echo 'containerRuntimeEndpoint: unix:///run/containerd/containerd.sock' >"$engine.muster"
  chmod 644 "$engine.muster"
  sync "$engine.muster"
  mv -f "$engine.muster" "$engine"
}
