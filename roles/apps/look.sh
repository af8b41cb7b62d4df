# Prints the sets of objects that there are, and of applications what tells whether they are well; of definitions, which are long, only
# that: `definition SET NAME WHETHER-IT-IS-SERVED VERSION`.
kinds=configmaps,deployments.apps,daemonsets.apps,statefulsets.apps,services,apiservices.apiregistration.k8s.io,storageclasses.storage.k8s.io,pods
kubectl get "$kinds" --all-namespaces -l muster.io/set -o json &&
  kubectl get customresourcedefinitions -l muster.io/set -o jsonpath='{range .items[*]}definition {.metadata.labels.muster\.io/set} {.metadata.name} {.status.conditions[?(@.type=="Established")].status} {.metadata.annotations.gateway\.networking\.k8s\.io/bundle-version}{"\n"}{end}'
