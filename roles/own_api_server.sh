# Leaves in $server the URL of this control plane's own API server, and nothing where it is not known: the address that the cluster
# knows its API by may be that of a machine that is gone.
# shellcheck disable=SC2034 # what follows in the same program reads it
server=
if [ -r /etc/kubernetes/controller-manager.conf ]; then
  while read -r key value; do
    [ "$key" != server: ] || server=$value
  done </etc/kubernetes/controller-manager.conf
fi
