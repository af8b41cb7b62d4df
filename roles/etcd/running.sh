# Prints the containers of the control plane that run here.
running() {
  for component in kube-apiserver kube-controller-manager kube-scheduler; do
    ctr -n k8s.io containers ls -q "labels.\"io.kubernetes.container.name\"==$component,labels.\"io.kubernetes.pod.namespace\"==kube-system" 2>/dev/null
  done | while read -r id; do
    ctr -n k8s.io tasks ls 2>/dev/null | awk -v id="$id" '$1 == id && $3 == "RUNNING" { print id }'
  done
}
