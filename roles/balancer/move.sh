# The machine's kubeconfigs lead to another address of the API, and the kubelet finds it there.
# $1: the URL; the others: URLs that are as good.
url=$1
# It is there from before the kubelet is told until it has started anew.
pending=/etc/kubernetes/kubelet.conf.moving
# The load balancer is a pod of a kubelet, which somebody may have stopped.
systemctl start kubelet
answer() { kubectl --kubeconfig /etc/kubernetes/kubelet.conf --request-timeout=5s --server="$url" get --raw /readyz 2>&1; }
left=60
until said=$(answer); do
  left=$((left - 1))
  [ "$left" -gt 0 ] || { printf 'nothing answers at %s: %s\n' "$url" "$said" >&2; exit 1; }
  sleep 1
done
umask 077
for name in admin super-admin kubelet; do
  conf=/etc/kubernetes/$name.conf
  if [ ! -e "$conf" ] || leads_to "$conf" "$@"; then continue; fi
  while IFS= read -r line; do
    case $line in
      *' server: '*) line="${line%% server: *} server: $url" ;;
    esac
    printf '%s\n' "$line"
  done <"$conf" >"$conf.muster"
  sync "$conf.muster"
  [ "$name" != kubelet ] || : >"$pending"
  mv "$conf.muster" "$conf"
done
if [ -e "$pending" ]; then
  systemctl restart kubelet
  rm -f "$pending"
fi
