# running FILTER: prints the containers of kube-system that run, by containerd's own word, and that have these labels (ctr(8)).
running() {
  ctr -n k8s.io containers ls -q "$1,labels.\"io.kubernetes.pod.namespace\"==kube-system" 2>/dev/null | while read -r id; do
    ctr -n k8s.io tasks ls 2>/dev/null | awk -v id="$id" '$1 == id && $3 == "RUNNING" { print id }'
  done
}
# of_pod NAME NODE: prints that of a static pod with one container of its own name. Pods of applications may have such containers, too.
of_pod() { running "labels.\"io.kubernetes.container.name\"==$1,labels.\"io.kubernetes.pod.name\"==$1-$2"; }
# they_end COMMAND: waits until it prints no containers any more, which the kubelet ends; where no kubelet runs, that is done here.
they_end() {
  for attempt in $(seq 300); do
    left=$("$@")
    [ -n "$left" ] || return 0
    if ! systemctl is-active -q kubelet || [ "$attempt" = 200 ]; then
      for id in $left; do ctr -n k8s.io tasks kill -s SIGTERM "$id" || :; done
    fi
    sleep 0.2
  done
  return 1
}
