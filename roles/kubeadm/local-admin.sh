# Leaves in $config a kubeconfig of the administrator that leads to $server, this control plane's own API server.
umask 077
config=$(mktemp /run/muster-admin.XXXXXX)
trap 'rm -f "$config"' EXIT
# shellcheck disable=SC2154 # own_api_server.sh stands in front
while IFS= read -r line; do
  case $line in
    *' server: '*) line="    server: $server" ;;
  esac
  printf '%s\n' "$line"
done </etc/kubernetes/admin.conf >"$config"
