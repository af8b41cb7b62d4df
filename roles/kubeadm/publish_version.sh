# The cluster learns that it goes to another version, as `kubeadm upgrade apply` brings it (upgrade.rs): with the first control plane that
# has it; and kube-proxy with the last one, because it must not be newer than any API server. Each does all that is not done: so it
# does not matter in which order they come, or where one was cut off.
# $1: kubeadm's configuration; $2: the version; $3: the name of this node; $4: whether its configuration is that of the cluster
# (`leads`), or nothing.
has=$(kubectl -n kube-system get configmap kubeadm-config -o 'jsonpath={.data.ClusterConfiguration}')
case "$4
$has
" in
  leads*) tell "$1" ;;
  *"
kubernetesVersion: v$2
"*) ;;
  *) tell "$1" ;;
esac
# The kubelet tells the cluster of its new API server some moments after that has begun.
left=180
while :; do
  own='' older=''
  servers=$(kubectl -n kube-system get pods -l component=kube-apiserver \
    -o 'jsonpath={range .items[*]}{.spec.nodeName}={.spec.containers[0].image}{" "}{end}')
  for server in $servers; do
    case $server in
      "$3="*":v$2") own=yes ;;
      *":v$2") ;;
      *) older=yes ;;
    esac
  done
  [ -z "$own" ] || break
  left=$((left - 1))
  [ "$left" -gt 0 ] || {
    echo "the cluster does not know that the API server of $3 has version $2" >&2
    exit 1
  }
  sleep 1
done
[ -n "$older" ] || kube_proxy "$1"
