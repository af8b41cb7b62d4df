# Prints the cluster as far as an upgrade is about it, in fields that are separated by |.
ready='{.status.conditions[?(@.type=="Ready")].status}'
# node|NAME|KUBELET|READY|MARK: the version that runs, as the kubelet says it; the mark of a node that muster has cordoned.
node="node|{.metadata.name}|{.status.nodeInfo.kubeletVersion}|$ready|{.metadata.annotations.muster\\.io/cordoned}"
kubectl get nodes -o "jsonpath={range .items[*]}$node{\"\n\"}{end}"
# pod|NAMESPACE|NAME|NODE|PHASE|READY|IMAGE
place='{.metadata.namespace}|{.metadata.name}|{.spec.nodeName}'
pod="pod|$place|{.status.phase}|$ready|{.spec.containers[0].image}"
for namespace in kube-system kube-flannel; do
  kubectl -n "$namespace" get pods -o "jsonpath={range .items[*]}$pod{\"\n\"}{end}"
done
# config|VERSION and proxy|IMAGE: what the cluster as a whole has.
kubectl -n kube-system get configmap kubeadm-config -o 'jsonpath={.data.ClusterConfiguration}' |
  sed -n 's/^kubernetesVersion: /config|/p'
image='{.spec.template.spec.containers[0].image}'
kubectl -n kube-system get daemonset kube-proxy -o "jsonpath=proxy|$image{\"\n\"}"
# dropped|GROUP|VERSION|RESOURCE|MINOR: what somebody has asked of the API server since it started, and the minor version that
# does not have it any more (Kubernetes' metric apiserver_requested_deprecated_apis; its labels come in the order of their names).
kubectl get --raw /metrics | sed -n '/^apiserver_requested_deprecated_apis{/{
  s/{\(.*\)} 1$/ ,\1,/
  s/.*,group="\([^"]*\)",removed_release="1\.\([0-9]*\)",resource="\([^"]*\)".*,version="\([^"]*\)".*/dropped|\1|\4|\3|\2/p
}'
