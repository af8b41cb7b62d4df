# Why nodes, and the system's pods, are not well, as the cluster knows it. Prints what was found: the node, a tab, and a text.
# What a message has of line breaks and tabs becomes blanks: only lines that begin with a mark of ours begin something new.
condition() { printf '{.status.conditions[?(@.type=="%s")].%s}' "$1" "$2"; }
ready=$(condition Ready status)'|'$(condition Ready reason)': '$(condition Ready message)
pressure=$(condition DiskPressure status)'|'$(condition MemoryPressure status)'|'$(condition PIDPressure status)
node="@N|{.metadata.name}|{.spec.podCIDR}|{.spec.unschedulable}|$pressure|$ready"
# shellcheck disable=SC2016 # jsonpath
containers='{range .status.containerStatuses[*]}{.state.waiting.reason}: {.state.waiting.message} {.state.terminated.reason}{" "}{.lastState.terminated.reason};{end}'
initial='{range .status.initContainerStatuses[*]}{.state.waiting.reason}: {.state.waiting.message};{end}'
pod='@P|{.metadata.namespace}|{.metadata.name}|{.spec.nodeName}|{.status.phase}|{.status.conditions[?(@.type=="Ready")].status}|{.status.reason}: {.status.message}'
event='@E|{.involvedObject.namespace}|{.involvedObject.name}|{.reason}|{.message}'
{
  kubectl get nodes -o "jsonpath={range .items[*]}$node{\"\n\"}{end}"
  kubectl get pods -A -o "jsonpath={range .items[*]}$pod|$initial$containers{\"\n\"}{end}"
  kubectl get events -A --field-selector type=Warning -o "jsonpath={range .items[*]}$event{\"\n\"}{end}"
} | tr '\t' ' ' | awk '
  function found(where, text) { if (!told[where text]++) print where "\t" substr(text, 1, 600) }
  # What stands behind so many fields, which may have the mark between fields in itself.
  function rest(fields,  text, i) {
    text = $0
    for (i = 0; i < fields; i++) text = substr(text, index(text, "|") + 1)
    return text
  }
  function tell(line) {
    $0 = line
    if ($1 == "@N") {
      if ($5 == "True") found($2, "the node has DiskPressure")
      if ($6 == "True") found($2, "the node has MemoryPressure")
      if ($7 == "True") found($2, "the node has PIDPressure")
      if ($8 != "True") found($2, "the node is not Ready: " rest(8))
      if ($3 == "") found($2, "the node has no podCIDR")
      if ($4 == "true") found($2, "the node is cordoned (SchedulingDisabled)")
    } else if ($1 == "@P") {
      if ($2 != "kube-system" && $2 != "kube-flannel") return
      if ($5 == "Succeeded" || ($5 == "Running" && $6 == "True")) return
      sick[$2 "/" $3] = 1; at[$2 "/" $3] = $4
      state = rest(6)
      # What the pod and its containers do not say leaves its marks.
      sub(/^[ :;|]*/, "", state)
      sub(/[ :;]*$/, "", state)
      found($4, "pod " $2 "/" $3 ": " $5 (state == "" ? "" : ", " state))
    } else if ($1 == "@E" && ($2 "/" $3 in sick)) {
      key = $2 "/" $3 ": " $4
      if (!(key in last)) events[++n] = key
      where[key] = at[$2 "/" $3]
      last[key] = rest(4)
    }
  }
  BEGIN { FS = "|" }
  # What differs each time would be told each time.
  { gsub(/sandbox "[0-9a-f]*"/, "a sandbox") }
  # Fields are those of the line that is told.
  /^@[NPE]\|/ { now = $0; if (line != "") tell(line); line = now; next }
  { line = line " " $0 }
  END {
    if (line != "") tell(line)
    for (i = 1; i <= n; i++) found(where[events[i]], "pod " events[i] ": " last[events[i]])
  }'
exit 0
