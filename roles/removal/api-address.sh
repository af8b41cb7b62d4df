# The machine's kubeconfigs lead to another API server; kubelet_is_told.sh stands in front.
# $1: its URL; the others: URLs that go.
url=$1; shift
umask 077
for name in admin super-admin discovery kubelet; do
  conf=/etc/kubernetes/$name.conf
  [ -e "$conf" ] || continue
  while IFS= read -r line; do
    for old; do
      case $line in
        *"server: $old") line=${line%"$old"}$url ;;
      esac
    done
    printf '%s\n' "$line"
  done <"$conf" >"$conf.muster"
  replace_conf "$name"
done
tell_kubelet
