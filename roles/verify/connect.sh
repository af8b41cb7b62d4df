# Each pod of the test tries to connect to all pods, to the service at every node's address, and by its address and name, and
# to the API by its name; to no names where there is no domain; where pods and services have an address of each of two families
# ($4: 2, else 1), to both. Prints what could not be reached, and from where. Eight pods try at once. What a firewall keeps away
# takes all of its time, so the third such ends a pod's attempt. A name that is not answered takes longer than any --timeout of
# agnhost, which does not count the look-up: it is ended.
label=$1 service=$2 domain=$3 families=$4; shift 4
pod='{.metadata.name} {.spec.nodeName} {.status.podIPs[*].ip}'
pods=$(kubectl -n kube-system get pods -l "$label" -o "jsonpath={range .items[*]}$pod{\"\n\"}{end}") || exit 1
ports=$(kubectl -n kube-system get service "$service" -o 'jsonpath={.spec.ports[0].nodePort} {.spec.clusterIPs[*]}') || exit 1
lost=$(echo "$pods" | awk -v families="$families" '
  NF && NF < 2 + families { print "the pod on " $2 " has no address" (NF == 2 ? "" : " of IPv6") }')
[ -z "$lost" ] || { echo "$lost"; exit 1; }
targets=$(echo "$pods" | awk '
  { for (n = 3; n <= NF; n++) printf "%s:8080/%s ", $n ~ /:/ ? "[" $n "]" : $n, $2 }')
at() {
  case $1 in *:*) targets="$targets [$1]:$2" ;; *) targets="$targets $1:$2" ;; esac
}
for node; do at "$node" "${ports%% *}"; done
for address in ${ports#* }; do at "$address" 80; done
[ -z "$domain" ] || targets="$targets $service.kube-system.svc.$domain:80 kubernetes.default.svc.$domain:443"
# shellcheck disable=SC2016 # for the shell of the pod
attempt='
missed=
for target; do
  /agnhost connect --timeout=3s "${target%/*}" >/dev/null 2>&1 &
  attempt=$!
  case $target in
    [[]*) watch= ;;
    *[a-z]*:*)
      { sleep 5; kill "$attempt"; } >/dev/null 2>&1 &
      watch=$! ;;
    *) watch= ;;
  esac
  wait "$attempt" && reached=yes || reached=
  [ -z "$watch" ] || kill "$watch" 2>/dev/null
  [ -z "$reached" ] || continue
  echo "unreachable=$target"
  missed=x$missed
  [ "$missed" != xxx ] || { echo "unreachable=..."; break; }
done
echo tested'
# shellcheck disable=SC2016 # for the shell of each attempt
echo "$pods" | awk 'NF { print $1, $2 }' | xargs -P 8 -n 2 sh -c '
  attempt=$1 targets=$2 server=$3 pod=$4 node=$5
  answer=$(kubectl --kubeconfig /etc/kubernetes/admin.conf ${server:+--server=$server} -n kube-system exec "$pod" -- sh -c "$attempt" sh $targets 2>&1)
  case $answer in *unreachable=*) ;; *tested*) exit ;; esac
  missed=$(echo "$answer" | sed -n "s/^unreachable=//p" | sed "s|/\(.*\)| (pod on \1)|" | paste -sd , - | sed "s/,/, /g")
  echo "from the pod on $node${missed:+ no way to}: ${missed:-$answer}"
  exit 1' sh "$attempt" "$targets" "${server:-}"
