# Pods that have read the authority when they began get new ones in their places, in the way that each workload asks for; one that
# has got them already is left alone. $1: what tells this rotation from every other one; $2: `own` for the cluster's own, or `others`.
# Prints `left NAMESPACE/WORKLOAD` of each that the cluster does not let be changed.
mark='{"spec":{"template":{"metadata":{"annotations":{"muster.io/authority":"'$1'"}}}}}'
kubectl get deployments,daemonsets,statefulsets -A \
  -o 'jsonpath={range .items[*]}{.metadata.namespace} {.kind}/{.metadata.name} {.spec.template.metadata.annotations.muster\.io/authority}{"\n"}{end}' |
  while read -r namespace workload marked; do
    case $namespace in kube-*) whose=own ;; *) whose=others ;; esac
    [ "$whose" != "$2" ] || [ "$marked" = "$1" ] ||
      kubectl -n "$namespace" patch "$workload" --type=merge --patch "$mark" </dev/null || echo "left $namespace/$workload"
  done
