# restart COMPONENTS: these parts start anew, with the files that are there, and the kubelet with them. What the kubelet has started
# a moment ago it starts again only after a pause, which grows: unless it has itself started since. So the API server goes first,
# and those that would end for want of it when it is there again. $server: the URL of this machine's own API server.
# Whoever does not end within half a minute is killed, as the kubelet does it: an API server waits for those who watch.
end_of() {
  ended=' '
  for component in $1; do
    for id in $(ctr -n k8s.io containers ls -q "labels.\"io.kubernetes.container.name\"==$component,labels.\"io.kubernetes.pod.namespace\"==kube-system"); do
      # Those that have ended already have no task.
      ! ctr -n k8s.io tasks kill -s SIGTERM "$id" 2>/dev/null || ended="$ended$id "
    done
  done
  for second in $(seq 60); do
    ctr -n k8s.io tasks ls | awk -v all="$ended" '$3 == "RUNNING" && index(all, " " $1 " ") { found = 1 } END { exit !found }' ||
      return 0
    [ "$second" != 30 ] || for id in $ended; do ctr -n k8s.io tasks kill -s SIGKILL "$id" 2>/dev/null || :; done
    sleep 1
  done
}
restart() {
  api_server='' others=''
  for component in $1; do
    if [ "$component" = kube-apiserver ]; then api_server=$component; else others="$others $component"; fi
  done
  set -- --kubeconfig /etc/kubernetes/admin.conf --request-timeout=5s
  # shellcheck disable=SC2154 # own_api_server.sh stands in front
  [ -z "$server" ] || set -- "$@" --server="$server"
  [ -z "$api_server" ] || end_of "$api_server"
  systemctl reset-failed kubelet 2>/dev/null || :
  systemctl restart kubelet
  if [ -n "$api_server" ]; then
    for _ in $(seq 180); do
      ! kubectl "$@" get --raw /readyz >/dev/null 2>&1 || break
      sleep 1
    done
  fi
  [ -z "$others" ] || end_of "$others"
}
