# node|NAME|READY of each node: `True` where it is.
kubectl get nodes \
  -o 'jsonpath={range .items[*]}node|{.metadata.name}|{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}'
