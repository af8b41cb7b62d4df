# The daemon set of flannel's own manifest ($1) goes, with its pods, before those of another one come.
kubectl -n kube-flannel delete daemonset "$1" --ignore-not-found --cascade=foreground --wait=false
for _ in $(seq 60); do
  [ -n "$(kubectl -n kube-flannel get daemonset "$1" --ignore-not-found -o name)" ] || exit 0
  sleep 1
done
echo "the daemon set $1 does not go: kubectl -n kube-flannel get pods -o wide" >&2
exit 1
