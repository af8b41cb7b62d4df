# Prints the cluster as far as an upgrade is about it, in fields that are separated by |. Each kubectl costs more than what it asks.
# $1: the version that the cluster goes to.
# KIND|NAMESPACE|NAME|PHASE|READY|NODE|IMAGE|KUBELET|MARK of nodes and pods. The kubelet's version is that which runs, as it says
# itself; the mark is that of a node that muster has cordoned.
object='{.kind}|{.metadata.namespace}|{.metadata.name}|{.status.phase}|{.status.conditions[?(@.type=="Ready")].status}'
pod='{.spec.nodeName}|{.spec.containers[0].image}'
node='{.status.nodeInfo.kubeletVersion}|{.metadata.annotations.muster\.io/cordoned}'
seen=$(kubectl get nodes,pods -A -o "jsonpath={range .items[*]}$object|$pod|$node{\"\n\"}{end}")
printf '%s\n' "$seen"
# config|VERSION and proxy|IMAGE: what the cluster as a whole has.
image='{.spec.template.spec.containers[0].image}'
kubectl -n kube-system get configmap/kubeadm-config daemonset/kube-proxy \
  -o "jsonpath={range .items[*]}{.data.ClusterConfiguration}{\"\nproxy|\"}$image{\"\n\"}{end}" |
  sed -n 's/^kubernetesVersion: /config|/p; /^proxy|./p'
# dropped|GROUP|VERSION|RESOURCE|MINOR: what somebody has asked of the API server since it started, and the minor version that
# does not have it any more (Kubernetes' metric apiserver_requested_deprecated_apis; its labels come in the order of their names).
if printf '%s\n' "$seen" | grep '^Node|' | grep -qv "|v$1|"; then
  kubectl get --raw /metrics | sed -n '/^apiserver_requested_deprecated_apis{/{
    s/{\(.*\)} 1$/ ,\1,/
    s/.*,group="\([^"]*\)",removed_release="1\.\([0-9]*\)",resource="\([^"]*\)".*,version="\([^"]*\)".*/dropped|\1|\4|\3|\2/p
  }'
fi
