# Prints the sets of objects that there are, and of applications what tells whether they are well.
kinds=configmaps,deployments.apps,daemonsets.apps,services,apiservices.apiregistration.k8s.io,storageclasses.storage.k8s.io,pods
kubectl get "$kinds" --all-namespaces -l muster.io/set -o json
