# Leaves in $config a kubeconfig of the administrator that leads to this control plane's own API server, which was found healthy:
# the address that the cluster knows its API by may be that of a machine that is to come.
umask 077
config=$(mktemp /run/muster-admin.XXXXXX)
trap 'rm -f "$config"' EXIT
server=''
while read -r key value; do
  [ "$key" != server: ] || server=$value
done </etc/kubernetes/controller-manager.conf
while IFS= read -r line; do
  case $line in
    *' server: '*) line="    server: $server" ;;
  esac
  printf '%s\n' "$line"
done </etc/kubernetes/admin.conf >"$config"
