# What charts are told of the cluster: its version, its groups of APIs with their versions, and of each group the kinds, of which those
# stay unknown that another program serves which is away.
kubectl get --raw /version
echo
kubectl api-versions
set -- --kubeconfig /etc/kubernetes/admin.conf --request-timeout=20s
[ -z "${server:-}" ] || set -- "$@" --server="$server"
said=$(command kubectl "$@" api-resources --no-headers 2>&1) || case $said in
  *'unable to retrieve the complete list'*) ;;
  *) printf '%s\n' "$said" >&2; exit 1 ;;
esac
printf '%s\n' "$said"
