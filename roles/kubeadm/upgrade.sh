# A control plane goes to another version. The first one takes the whole cluster there, kube-proxy and configuration included; which
# one that is the cluster says: as long as it has another version as a whole, it is this one.
# $1: the version; $2: the folder of patches; $3: where the hash of its configuration is kept; $4: that hash, as long as nothing but
# the version differs; $5: what it is when all is done.
version=v$1 patches=$2 settled=$3 before=$4 hash=$5
config=$(kubectl -n kube-system get configmap kubeadm-config -o 'jsonpath={.data.ClusterConfiguration}')
proxy=$(kubectl -n kube-system get daemonset kube-proxy -o 'jsonpath={.spec.template.spec.containers[0].image}')
case "$config
 $proxy " in
  *"kubernetesVersion: $version
"*":$version ") set -- node ;;
  *) set -- apply "$version" --yes ;;
esac
# Checks of what muster looks at itself; kubeadm's own job of a pod cannot run where a node is cordoned. DNS is a role of its own.
kubeadm upgrade "$@" --patches "$patches" --skip-phases=addon/coredns \
  --ignore-preflight-errors=SystemVerification,CreateJob,CoreDNSUnsupportedPlugins,CoreDNSMigration
if [ "$(cat "$settled")" = "$before" ]; then
  remember_static_pods "${settled%/*}"
  echo "$hash" >"$settled"
fi
