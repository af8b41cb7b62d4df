# Prints for each node that node-feature-discovery has labelled: `NODE;LABELS;ANNOTATIONS`, with commas between the names that it has
# noted there.
kubectl get nodes -o jsonpath='{range .items[*]}{.metadata.name};{.metadata.annotations.nfd\.node\.kubernetes\.io/feature-labels};{.metadata.annotations.nfd\.node\.kubernetes\.io/feature-annotations}{"\n"}{end}' |
  sed '/;;$/d'
