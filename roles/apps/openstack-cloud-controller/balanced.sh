# Prints the services that a cloud's controller has made load balancers for.
kubectl get services --all-namespaces \
  -o 'jsonpath={range .items[*]}Service {.metadata.namespace}/{.metadata.name} {.metadata.finalizers}{"\n"}{end}' |
  sed -n 's# [^ ]*"service.kubernetes.io/load-balancer-cleanup".*##p'
