# The API answers this machine's kubelet: $server, where that is known, else where its kubeconfig leads. And the machine's load balancer,
# where it has one, leads to each of some control planes: it says of each what it knows at the port at which it tells how it is.
# $1: that port; the others: the control planes.
port=$1
shift
names=$*
set -- --kubeconfig /etc/kubernetes/kubelet.conf --request-timeout=10s
# shellcheck disable=SC2154 # own_api_server.sh stands in front
[ -z "$server" ] || set -- "$@" --server="$server"
said=$(kubectl "$@" get --raw /readyz 2>&1) || {
  printf '%s\n' "${server:-the address in kubelet.conf}: $said"
  exit 1
}
missing=
for plane in $names; do
  kubectl --kubeconfig /dev/null --server "http://127.0.0.1:$port" --request-timeout=5s get --raw "/$plane" >/dev/null 2>&1 ||
    missing="$missing $plane"
done
[ -z "$missing" ] || { printf 'unreached%s\n' "$missing"; exit 1; }
