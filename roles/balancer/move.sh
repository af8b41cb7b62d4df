# The machine's kubeconfigs lead to another address of the API, and the kubelet finds it there; kubelet_is_told.sh stands in front.
# $1: the URL; the others: URLs that are as good for the kubelet.
url=$1
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
  replace_conf "$name"
done
tell_kubelet
