# The machine's kubeconfigs lead to another address of the API, and the kubelet finds it there.
# $1: the URL; the others: URLs that are as good for the kubelet.
url=$1
# It is there from before the kubelet is told until it has started anew.
pending=/etc/kubernetes/kubelet.conf.moving
# The load balancer is a pod of a kubelet, which somebody may have stopped.
systemctl start kubelet
answer() { kubectl --kubeconfig /etc/kubernetes/kubelet.conf --request-timeout=5s --server="$url" get --raw /readyz 2>&1; }
left=60 times=4
# More than once, because there may be several behind it.
while [ "$times" -gt 0 ]; do
  if said=$(answer); then
    times=$((times - 1))
    continue
  fi
  left=$((left - 1))
  [ "$left" -gt 0 ] || { printf 'nothing answers at %s: %s\n' "$url" "$said" >&2; exit 1; }
  sleep 1
done
umask 077
# That of the administrator, by which a later run sees what is done, goes after its twin.
for name in super-admin admin kubelet; do
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
