# Whether no kubeconfig of the machine leads to an API server that goes, and the kubelet has been told; kubelet_is_told.sh stands in
# front.
# The arguments: their URLs.
[ ! -e "$pending" ] || exit 1
for name in admin super-admin discovery kubelet; do
  [ -r "/etc/kubernetes/$name.conf" ] || continue
  while IFS= read -r line; do
    for old; do
      case $line in
        *"server: $old") exit 1 ;;
      esac
    done
  done <"/etc/kubernetes/$name.conf"
done
