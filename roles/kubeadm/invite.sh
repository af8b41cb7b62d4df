# Prints the nodes, each with whether it is Ready, a new token, and the certificate of the cluster's authority.
# $1: how long the token is good; $2: the certificate's file. $config is the administrator's kubeconfig.
ready='{.status.conditions[?(@.type=="Ready")].status}'
# shellcheck disable=SC2154 # local-admin.sh stands in front
kubectl --kubeconfig "$config" --request-timeout=20s get nodes --field-selector '' \
  -o "jsonpath={range .items[*]}{.metadata.name} $ready{\"\\n\"}{end}" &&
  kubeadm --kubeconfig "$config" token create --ttl "$1" && cat "$2"
