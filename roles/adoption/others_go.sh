# What others' manifests have in place of muster's own goes (others.sh), with its pods, before muster's comes. $1: the network plugin.
# A service keeps its address for itself: the one of names gives way to one of the same address and of the name that all others know.
service_goes() {
  address=$(kubectl -n kube-system get service/coredns -o 'jsonpath={.spec.clusterIP}')
  kubectl -n kube-system delete service/coredns --ignore-not-found
  printf '{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "kube-dns", "labels": {"k8s-app": "kube-dns"}}, "spec": {
    "clusterIP": "%s", "selector": {"k8s-app": "kube-dns"}, "ports": [
      {"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]}}' "$address" |
    kubectl -n kube-system create -f -
}
others "$1" | while read -r namespace name; do
  case $name in
    Service/coredns) service_goes ;;
    *) kubectl -n "$namespace" delete "$name" --ignore-not-found --cascade=foreground --wait=false ;;
  esac
done
for _ in $(seq 60); do
  left=$(others "$1")
  [ -n "$left" ] || exit 0
  sleep 1
done
echo "this does not go: $left" >&2
exit 1
