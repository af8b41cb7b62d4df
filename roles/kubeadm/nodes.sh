# A line for each node, or for one: its name, as JSON its labels and taints, what of them muster has set, and its network for pods.
selector=$1
owned='{.metadata.annotations.muster\.io/owned-labels}{"\t"}{.metadata.annotations.muster\.io/owned-taints}'
node='{.metadata.name}{"\t"}{.metadata.labels}{"\t"}{.spec.taints}{"\t"}'$owned'{"\t"}{.spec.podCIDR}{"\n"}'
kubectl get nodes --field-selector "$selector" -o "jsonpath={range .items[*]}$node{end}"
