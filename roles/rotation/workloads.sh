# NAMESPACE|KIND/NAME|GENERATION|SEEN|WANTED|NEW|READY of each workload: which generation it is of and which one was seen, how many
# pods there are to be, and how many are new and how many ready.
name='{.metadata.namespace}|{.kind}/{.metadata.name}|{.metadata.generation}|{.status.observedGeneration}'
kubectl get deployments,statefulsets -A \
  -o "jsonpath={range .items[*]}$name|{.spec.replicas}|{.status.updatedReplicas}|{.status.readyReplicas}{\"\n\"}{end}"
kubectl get daemonsets -A \
  -o "jsonpath={range .items[*]}$name|{.status.desiredNumberScheduled}|{.status.updatedNumberScheduled}|{.status.numberReady}{\"\n\"}{end}"
