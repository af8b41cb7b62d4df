# others PLUGIN: prints, as NAMESPACE KIND/NAME, what others' manifests have in the cluster in place of muster's own: the daemons of
# flannel, where that is the PLUGIN, and what kubespray has for names.
others() {
  if [ "$1" = flannel ]; then
    for namespace in kube-flannel kube-system; do
      labelled "$namespace" daemonsets 'app=flannel,!muster.io/set' || return 1
    done
  fi
  kubespray=addonmanager.kubernetes.io/mode=Reconcile
  labelled kube-system daemonsets "k8s-app=kube-dns,$kubespray,!muster.io/set" &&
    labelled kube-system deployments "k8s-app=dns-autoscaler,$kubespray" &&
    labelled kube-system services "kubernetes.io/name=coredns,$kubespray"
}
labelled() {
  kubectl -n "$1" get "$2" -l "$3" -o 'jsonpath={range .items[*]}{.metadata.namespace} {.kind}/{.metadata.name}{"\n"}{end}'
}
