# A node and its addresses, or nothing. $1: its name.
addresses='{.status.addresses[?(@.type=="InternalIP")].address}'
kubectl get nodes --field-selector "metadata.name=$1" -o "jsonpath={range .items[*]}{.metadata.name} $addresses{end}"
