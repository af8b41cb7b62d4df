# rolls_out NAMESPACE WORKLOAD PODS: fails where the new pods of a workload do not become ready, and says what the newest one has said.
# PODS is the selector of its pods.
rolls_out() {
  case $2 in
    deployment/*) ! kubectl -n "$1" rollout status "$2" --timeout=60s || return 0 ;;
    daemonset/*) ! are_taken "$1" "$2" "$3" || return 0 ;;
  esac
  # Those of before go on; why the newest one does not become ready is what it says.
  newest=$(kubectl -n "$1" get pods --selector "$3" --sort-by=.metadata.creationTimestamp -o name | tail -n 1)
  but=
  case $2 in
    # One has gone before its successor came.
    daemonset/*) but=", but not on $(kubectl -n "$1" get "$newest" -o 'jsonpath={.spec.nodeName}' || :), whose pod is the new one" ;;
  esac
  {
    kubectl -n "$1" get "$newest" --no-headers
    kubectl -n "$1" logs "$newest" --tail=3 || kubectl -n "$1" logs "$newest" --tail=3 --previous
    echo "the new pods of ${2#*/} do not become ready; those of before go on$but"
  } >&2
  return 1
}
# are_taken NAMESPACE DAEMONSET PODS: whether the ConfigMap of its template is taken: not where a pod with it has ended twice. A machine
# that is off has no such pod: where there is none within a minute, nobody knows.
are_taken() {
  config=$(kubectl -n "$1" get "$2" -o 'jsonpath={.spec.template.spec.volumes[0].configMap.name}')
  state='{.spec.volumes[0].configMap.name} {.status.containerStatuses[0].ready} {.status.containerStatuses[0].restartCount}'
  for _ in $(seq 60); do
    found=$(kubectl -n "$1" get pods --selector "$3" -o "jsonpath={range .items[*]}$state{\"\\n\"}{end}")
    case "
$found" in *"
$config true "*) return 0 ;; *"
$config false "[2-9]*) return 1 ;; esac
    sleep 1
  done
}
