# Prints for each node on which node-feature-discovery has noted what it has set there: `NODE;LABELS;ANNOTATIONS;RESOURCES;TAINTS`, with
# commas between the names, and between the taints.
noted=metadata.annotations.nfd\\.node\\.kubernetes\\.io/
kubectl get nodes -o "jsonpath={range .items[*]}{.metadata.name};{.${noted}feature-labels};{.${noted}feature-annotations};{.${noted}extended-resources};{.${noted}taints}{'\n'}{end}" |
  sed '/;;;;$/d'
