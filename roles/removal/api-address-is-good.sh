# Whether no kubeconfig of the machine leads to an API server that goes.
# The arguments: their URLs.
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
