# The static pod by which kubespray leads a machine to the API servers; running.sh stands in front. Somebody may have a pod of their
# own by that name, which has not its label: containerd notes a pod's at its sandbox.
# manifests: prints those that are there.
manifests() {
  for name in nginx haproxy; do
    manifest=/etc/kubernetes/manifests/$(pod_of "$name").yml
    if grep -qs "k8s-app: kube-$name" "$manifest"; then echo "$manifest"; fi
  done
}
# balancers NODE: prints the containers of it that run.
balancers() {
  for name in nginx haproxy; do
    [ -z "$(running "labels.\"k8s-app\"==kube-$name")" ] || of_pod "$(pod_of "$name")" "$1"
  done
}
pod_of() { case $1 in nginx) echo nginx-proxy ;; *) echo "$1" ;; esac; }
# led PORT: prints who finds the API at the machine's own port still: the kubelet's configuration, and connections (proc(5)).
led() {
  while read -r key value; do
    case "$key $value" in
      "server: https://localhost:$1" | "server: https://127.0.0.1:$1") echo "/etc/kubernetes/kubelet.conf, which says $value" ;;
    esac
  done </etc/kubernetes/kubelet.conf
  here=$(printf '0100007F:%04X 01' "$1") open=0
  while read -r _ own _ state _; do
    if [ "$own $state" = "$here" ]; then open=$((open + 1)); fi
  done </proc/net/tcp
  [ "$open" = 0 ] || echo "$open open connections"
}
