# Prints what is not well with nodes, with the system's pods on them, and with the API servers of control planes. Where all is
# well it prints each node of the cluster: name, uid, boot, kubelet, and for which state its network was last found to work; and
# | NAME of one that muster has cordoned; @ NAME ADDRESS of each; and % POD NODE, where all pods of CoreDNS' Deployment are on one node,
# and there is another one for them, which was not Ready yet when they were put there: else the scheduler has preferred this one.
# Names are in one text each, every one between two blanks. Pods of applications are looked at where those are installed.
nodes=$1 planes=$2 version=v$3
object='{.kind}|{.metadata.namespace}|{.metadata.name}|{.metadata.uid}'
state='{.status.phase}|{.status.conditions[?(@.type=="Ready")].status}'
node='{.status.nodeInfo.bootID}|{.status.nodeInfo.kubeletVersion}|{.metadata.annotations.muster\.io/network-verified}'
pod='{.spec.nodeName}|{.spec.containers[0].image}|{.status.containerStatuses[*].state.waiting.reason}|{.metadata.labels.muster\.io/set}'
cordoned='{.metadata.annotations.muster\.io/cordoned}|{.spec.unschedulable}'
address='{.status.addresses[?(@.type=="InternalIP")].address}'
owner='{.metadata.ownerReferences[0].kind}/{.metadata.ownerReferences[0].name}'
taints='{.spec.taints[?(@.effect=="NoSchedule")].key},{.spec.taints[?(@.effect=="NoExecute")].key}'
since='{.status.conditions[?(@.type=="Ready")].lastTransitionTime}|{.metadata.creationTimestamp}|{.metadata.deletionTimestamp}'
rollout='{.metadata.generation}|{.status.observedGeneration}|{.status.desiredNumberScheduled}|{.status.updatedNumberScheduled}'
fields="$object|$state|$node|$pod|$cordoned|$address|$owner|$taints|$since|$rollout"
seen=$(kubectl get nodes,pods,daemonsets -A -o "jsonpath={range .items[*]}$fields{\"\n\"}{end}") || exit 1
echo "$seen" | awk -F '|' -v nodes="$nodes" -v planes="$planes" -v version="$version" '
  function wrong(text) { print text; bad = 1 }
  # Kubernetes, "Version Skew Policy": no kubelet is newer than an API server.
  function is_newer(one, other,   a, b, i) {
    split(substr(one, 2), a, "."); split(substr(other, 2), b, ".")
    for (i = 1; i <= 3; i++) if (a[i] + 0 != b[i] + 0) return a[i] + 0 > b[i] + 0
    return 0
  }
  # Nor is one older by more than three minor versions.
  function minor(version,   a) { split(version, a, "."); return a[2] + 0 }
  function on(node) { return node == "" ? "" : " on " node }
  # Whether pods of CoreDNS may come. Every pod bears it for a while that its node is not Ready (Kubernetes, "Taints and Tolerations"), and
  # that a node is Ready again is seen at once for new pods, but only every five seconds for those that are there.
  function lets_in(taints) {
    gsub(/node-role\.kubernetes\.io\/control-plane|node\.kubernetes\.io\/(not-ready|unreachable)|[ ,]/, "", taints)
    return taints == ""
  }
  # Whose pods take the place of one that has ended, and stays: those of any ReplicaSet of the same Deployment.
  function application(  of) {
    of = owner
    if (of !~ /^ReplicaSet\//) return ""
    sub(/-[^-]*$/, "", of)
    return namespace "/" of
  }
  {
    kind = $1; namespace = $2; name = $3; uid = $4; phase = $5; is_ready = $6 == "True"
    boot = $7; kubelet = $8; proven = $9; place = $10; image = $11; waiting = $12; app = $13
    cordoned = $14 != "" && $15 == "true"; owner = $17
  }
  kind == "Node" {
    ready[name] = is_ready
    version_of[name] = kubelet
    known = known name " " uid " " boot " " kubelet " " proven "\n"
    if (cordoned) known = known "| " name "\n"
    if ($16 != "") known = known "@ " name " " $16 "\n"
    ready_since[name] = $19
    has_room[name] = is_ready && $15 != "true" && lets_in($18)
    opens[name] = $18 ~ /not-ready[^,]*,/
  }
  # The networks that muster brings: with a former template pods are Ready, too.
  kind == "DaemonSet" && app ~ /^(flannel|calico|cilium)$/ {
    rolls[namespace "/" name] = $22 == $23
    needed[namespace "/" name] = $24 + 0; renewed[namespace "/" name] = $25 + 0
  }
  kind != "Pod" || name ~ /^muster-verify-/ || app != "" { next }
  phase == "Running" && is_ready { lives[application()] = 1 }
  (namespace == "kube-system" || namespace == "kube-flannel") && (place == "" || index(nodes, " " place " ")) {
    total++
    text = namespace "/" name on(place) ": " phase (phase == "Running" ? ", not ready" : "") (waiting == "" ? "" : ", " waiting)
    # What has ended is not started again (as in roles/upgrade/state.rs): what nobody made, or a Job, is not missed.
    is_over = phase == "Succeeded" || (phase == "Failed" && (owner == "" || owner ~ /^(\/|Job\/)/))
    if (phase == "Failed" && application() != "") failed[text] = application()
    else if (!is_over && (phase != "Running" || !is_ready)) wrong(text)
    if (name == "kube-apiserver-" place) runs[place] = image
  }
  # One that is about to end answers nobody for long.
  application() == "kube-system/ReplicaSet/coredns" && place != "" && phase == "Running" && $21 == "" {
    at[place]++; last = name
    if ($20 > newest) newest = $20
  }
  END {
    # Nobody waits for a pod on a node that is not Ready, or not looked at.
    for (node in ready) if (!ready[node] || !index(nodes, " " node " ")) away++
    for (set in rolls) if (!rolls[set] || renewed[set] + away < needed[set])
      wrong(set ": " renewed[set] " of " needed[set] " pods are those of its template")
    for (text in failed) if (!(failed[text] in lives)) wrong(text)
    n = split(nodes, list, " ")
    for (i = 1; i <= n; i++) {
      if (!(list[i] in ready)) wrong("node " list[i] " is not in the cluster")
      else if (!ready[list[i]]) wrong("node " list[i] " is not Ready")
      else if (is_newer(version_of[list[i]], version))
        wrong("the kubelet of node " list[i] " is " version_of[list[i]] ", newer than the API server, " version)
      else if (minor(version_of[list[i]]) + 3 < minor(version))
        wrong("the kubelet of node " list[i] " is " version_of[list[i]] ", too old for the API server, " version)
    }
    n = split(planes, list, " ")
    for (i = 1; i <= n; i++) {
      image = runs[list[i]]
      if (substr(image, length(image) - length(version)) != ":" version)
        wrong("the API server of " list[i] " is not " version ": " (image == "" ? "it has none" : image))
    }
    if (!total) wrong("no pod of the system is there")
    for (node in at) { places++; names += ready[node]; pods += at[node] }
    if (places && !names) wrong("no name of the cluster is found: CoreDNS is on " node ", which is not Ready")
    if (places == 1 && pods > 1) for (other in has_room) if (has_room[other] && ready_since[other] > newest && !(other in at)) {
      if (opens[other]) wrong("node " other " is Ready, and does not take pods yet")
      known = known "% " last " " node "\n"
      break
    }
    if (!bad) printf "%s", known
    exit bad
  }'
