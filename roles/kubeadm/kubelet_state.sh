# kubelet_state HASH: prints what the kubelet was configured with: the hash of what was wanted, and the sum of the file that came of it.
kubelet_state() {
  echo "$1"
  [ ! -e /var/lib/kubelet/config.yaml ] || sha256sum /var/lib/kubelet/config.yaml
}
