# The API server of this control plane is ready, however often it is asked in a row, twice a second.
# $1: the administrator's kubeconfig; $2: how often.
times=$2
set -- --kubeconfig "$1" --request-timeout=5s
# shellcheck disable=SC2154 # own_api_server.sh stands in front
[ -z "$server" ] || set -- "$@" --server="$server"
while [ "$times" -gt 0 ]; do
  kubectl "$@" get --raw /readyz || exit 1
  times=$((times - 1))
  sleep 0.5
done
