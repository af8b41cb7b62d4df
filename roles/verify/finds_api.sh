# The API answers this machine's kubelet: $server, where that is known, else where its kubeconfig leads.
set -- --kubeconfig /etc/kubernetes/kubelet.conf --request-timeout=10s
# shellcheck disable=SC2154 # own_api_server.sh stands in front
[ -z "$server" ] || set -- "$@" --server="$server"
said=$(kubectl "$@" get --raw /readyz 2>&1) || {
  printf '%s\n' "${server:-the address in kubelet.conf}: $said"
  exit 1
}
