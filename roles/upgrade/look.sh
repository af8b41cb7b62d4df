# Prints the cluster as far as an upgrade is about it, in fields that are separated by |. Each kubectl costs more than what it asks.
# KIND|NAMESPACE|NAME|PHASE|READY|NODE|IMAGE|KUBELET|MARK|OWNER of nodes and pods. The kubelet's version is that which runs, as it
# says itself; the mark is that of a node that muster has cordoned; the owner is a kind and a name, as in ReplicaSet/coredns-5d.
object='{.kind}|{.metadata.namespace}|{.metadata.name}|{.status.phase}|{.status.conditions[?(@.type=="Ready")].status}'
pod='{.spec.nodeName}|{.spec.containers[0].image}'
node='{.status.nodeInfo.kubeletVersion}|{.metadata.annotations.muster\.io/cordoned}'
owner='{.metadata.ownerReferences[0].kind}/{.metadata.ownerReferences[0].name}'
kubectl get nodes,pods -A -o "jsonpath={range .items[*]}$object|$pod|$node|$owner{\"\n\"}{end}"
# config|VERSION and proxy|IMAGE: what the cluster as a whole has; the second one only where it has kube-proxy.
image='{.spec.template.spec.containers[0].image}'
kubectl -n kube-system get configmap/kubeadm-config daemonset/kube-proxy --ignore-not-found \
  -o "jsonpath={range .items[*]}{.data.ClusterConfiguration}{\"\nproxy|\"}$image{\"\n\"}{end}" |
  sed -n 's/^kubernetesVersion: /config|/p; /^proxy|./p'
