# The kubelet gives an address ($1) as its node's, by what kubeadm has written for it.
flags=/var/lib/kubelet/kubeadm-flags.env said=
if [ -r "$flags" ]; then
  while read -r line; do
    case $line in KUBELET_KUBEADM_ARGS=*) said=${line#*=} ;; esac
  done <"$flags"
fi
said=${said#\"}
said="${said%\"} --node-ip=$1"
mkdir -p "${flags%/*}"
printf 'KUBELET_KUBEADM_ARGS="%s"\n' "${said# }" >"$flags.muster"
chmod 644 "$flags.muster"
sync "$flags.muster"
mv -f "$flags.muster" "$flags"
