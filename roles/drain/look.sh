# What runs on a node, and the PodDisruptionBudgets of the cluster: a line each, with tabs between its fields. There is no line
# `node` where the cluster has no such node.
# look NODE SELECTOR; the selector is that of the pods that are to move, or nothing for all of them.
t='{"\t"}' n='{"\n"}'
look_at_node() {
  # shellcheck disable=SC2016 # these dollar signs are jsonpath's
  mark='{.metadata.annotations.muster\.io/cordoned}' ready='{.status.conditions[?(@.type=="Ready")].status}'
  kubectl get nodes --field-selector "metadata.name=$1" \
    -o "jsonpath={range .items[*]}node$t{.spec.unschedulable}$t$mark$t$ready$n{end}"
}
owners='{.metadata.ownerReferences}' named='{.metadata.namespace}{"\t"}{.metadata.name}'
look_at_pods() {
  mirror='{.metadata.annotations.kubernetes\.io/config\.mirror}' volumes='{.spec.volumes[*].emptyDir}'
  pod="$named$t{.status.phase}$t{.metadata.labels}$t$owners$t$mirror$t$volumes$t{.spec.nodeName}"
  kubectl get pods -A --field-selector "$1" --selector "$2" -o "jsonpath={range .items[*]}pod$t$pod$n{end}"
}
look_at_budgets() {
  bounds='{.spec.minAvailable}{"\t"}{.spec.maxUnavailable}'
  budget="$named$t{.spec.selector}$t{.status.disruptionsAllowed}$t$bounds$t$owners"
  kubectl get poddisruptionbudgets -A -o "jsonpath={range .items[*]}budget$t$budget$n{end}"
}
look() {
  look_at_node "$1" && look_at_pods "spec.nodeName=$1" "$2" && look_at_budgets
}
