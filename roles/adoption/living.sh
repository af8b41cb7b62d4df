# Prints the cluster as it says of itself, in parts, each behind a line with its name; others.sh stands in front. $1: the network plugin.
part() { printf '\n== %s\n' "$1"; }
part nodes
address='{.status.addresses[?(@.type=="InternalIP")].address}'
ready='{.status.conditions[?(@.type=="Ready")].status}'
# From where flannel sends on each.
flannel='{.metadata.annotations.flannel\.alpha\.coreos\.com/public-ip}|{.metadata.annotations.flannel\.alpha\.coreos\.com/public-ip-overwrite}'
kubectl get nodes -o "jsonpath={range .items[*]}{.metadata.name}|$address|$ready|{.spec.taints[*].key}|$flannel|{.status.nodeInfo.operatingSystem}{\"\n\"}{end}"
part objects
kubectl -n kube-system get --ignore-not-found -o json configmap/kubeadm-config configmap/kubelet-config configmap/kube-proxy \
  configmap/coredns configmap/nodelocaldns configmap/kubernetes-services-endpoint service/kube-dns service/coredns deployment/coredns \
  daemonset/cilium
# kubespray has them in another namespace.
part flannel
kubectl -n kube-flannel get --ignore-not-found -o json configmap/kube-flannel-cfg configmap/kube-flannel \
  daemonset/kube-flannel-ds daemonset/kube-flannel
part flannel-of-kubespray
kubectl -n kube-system get --ignore-not-found -o json configmap/kube-flannel-cfg daemonset/kube-flannel
part pods
kubectl -n kube-system get pods -l tier=control-plane \
  -o "jsonpath={range .items[*]}{.spec.nodeName}|{.metadata.labels.component}|$ready{\"\n\"}{end}"
part daemons
kubectl get daemonsets -A -o 'jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name}{"\n"}{end}'
part goes
others "$1"
