# What runs on a node, and the PodDisruptionBudgets of the cluster: a line each, with tabs between its fields. There is no line
# `node` where the cluster has no such node.
# $1: the node; $2: the selector of the pods that are to move, or nothing for all of them.
t='{"\t"}' n='{"\n"}'
look_at_node() {
  # shellcheck disable=SC2016 # these dollar signs are jsonpath's
  mark='{.metadata.annotations.muster\.io/cordoned}' ready='{.status.conditions[?(@.type=="Ready")].status}'
  kubectl get nodes --field-selector "metadata.name=$1" \
    -o "jsonpath={range .items[*]}node$t{.spec.unschedulable}$t$mark$t$ready$n{end}"
}
look() {
  owners='{.metadata.ownerReferences}' named='{.metadata.namespace}{"\t"}{.metadata.name}'
  mirror='{.metadata.annotations.kubernetes\.io/config\.mirror}' volumes='{.spec.volumes[*].emptyDir}'
  bounds='{.spec.minAvailable}{"\t"}{.spec.maxUnavailable}'
  look_at_node "$1" &&
    kubectl get pods -A --field-selector "spec.nodeName=$1" --selector "$2" \
      -o "jsonpath={range .items[*]}pod$t$named$t{.status.phase}$t{.metadata.labels}$t$owners$t$mirror$t$volumes$n{end}" &&
    kubectl get poddisruptionbudgets -A \
      -o "jsonpath={range .items[*]}budget$t$named$t{.spec.selector}$t{.status.disruptionsAllowed}$t$bounds$t$owners$n{end}"
}
