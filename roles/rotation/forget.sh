# API servers tell each other and aggregated ones whom to trust, and only ever add to it: what holds the old authority is made anew
# by them. $1, $2: lines of the former certificates of the cluster's authority and of the front proxy's.
held=$(kubectl -n kube-system get configmap extension-apiserver-authentication --ignore-not-found -o 'jsonpath={.data}')
case $held in
  *"$1"* | *"$2"*) kubectl -n kube-system delete configmap extension-apiserver-authentication ;;
esac
for _ in $(seq 90); do
  held=$(kubectl -n kube-system get configmap extension-apiserver-authentication --ignore-not-found -o 'jsonpath={.data}')
  case $held in
    *"$1"* | *"$2"*) ;;
    *requestheader-client-ca-file*) exit 0 ;;
  esac
  sleep 1
done
echo 'the API servers do not make the ConfigMap kube-system/extension-apiserver-authentication anew, or with the old authority' >&2
exit 1
