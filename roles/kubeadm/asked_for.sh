# Prints what the kubelet of a node has asked the cluster for to serve with, and what became of it. $1: the node.
kubectl get certificatesigningrequests --field-selector spec.signerName=kubernetes.io/kubelet-serving --no-headers |
  grep -F " system:node:$1 "
