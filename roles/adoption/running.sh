# running NAMES: prints the containers of static pods with these names that run, by containerd's own word. An application may call
# its containers alike.
running() {
  for name; do
    ctr -n k8s.io containers ls -q "labels.\"io.kubernetes.container.name\"==$name,labels.\"io.kubernetes.pod.namespace\"==kube-system" 2>/dev/null | while read -r id; do
      ctr -n k8s.io tasks ls 2>/dev/null | awk -v id="$id" '$1 == id && $3 == "RUNNING" { print id }'
    done
  done
}
