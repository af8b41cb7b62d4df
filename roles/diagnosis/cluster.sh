# Why nodes, and the system's pods, are not well, as the cluster knows it. Prints what was found: the node, a tab, and a text.
# What a message has of line breaks and tabs becomes blanks: only lines that begin with a mark of ours begin something new.
condition() { printf '{.status.conditions[?(@.type=="%s")].%s}' "$1" "$2"; }
ready=$(condition Ready status)'|'$(condition Ready reason)': '$(condition Ready message)
pressure=$(condition DiskPressure status)'|'$(condition MemoryPressure status)'|'$(condition PIDPressure status)
node="@N|{.metadata.name}|{.spec.podCIDR}|{.spec.unschedulable}|$pressure|$ready"
pod='@P|{.metadata.namespace}|{.metadata.name}|{.spec.nodeName}|{.status.phase}|{.status.conditions[?(@.type=="Ready")].status}|{.status.reason}: {.status.message}{"\n"}'
# The image is the one that is asked for: a status names any of those that have the same content.
image='@I|{.name}|{.image}{"\n"}'
images="{range .spec.initContainers[*]}$image{end}{range .spec.containers[*]}$image{end}"
state() { printf '@C|{.name}|{.%s.reason}|{.%s.exitCode}|{.%s.message}{"\\n"}' "$1" "$1" "$1"; }
states=$(state state.waiting)$(state state.terminated)$(state lastState.terminated)
states="{range .status.initContainerStatuses[*]}$states{end}{range .status.containerStatuses[*]}$states{end}"
event='@E|{.involvedObject.namespace}|{.involvedObject.name}|{.reason}|{.message}'
{
  kubectl get nodes -o "jsonpath={range .items[*]}$node{\"\n\"}{end}"
  kubectl get pods -A -o "jsonpath={range .items[*]}$pod$images$states{end}"
  kubectl get events -A --field-selector type=Warning -o "jsonpath={range .items[*]}$event{\"\n\"}{end}"
} | tr '\t' ' ' | awk '
  function found(where, text) { if (!told[where text]++) print where "\t" substr(text, 1, 600) }
  # What stands behind so many fields, which may have the mark between fields in itself.
  function rest(fields,  text, i) {
    text = $0
    for (i = 0; i < fields; i++) text = substr(text, index(text, "|") + 1)
    return text
  }
  # A pod of which neither itself nor a container says anything is told by its phase.
  function end_of_pod() {
    if (pod != "" && !has_said) found(at[pod], "pod " pod ": " phase)
    pod = ""
  }
  function tell(line,  message, text) {
    $0 = line
    if ($1 == "@I") {
      image[$2] = $3
      return
    }
    if ($1 == "@C") {
      # One that is about to begin, waits for others, or has ended well is no reason.
      if (pod == "" || $3 == "" || $3 == "ContainerCreating" || $3 == "PodInitializing" || $3 == "Completed") return
      message = rest(4)
      sub(/ *$/, "", message)
      # The same steps stand before the reason each time.
      sub(/failed to create containerd task: .*unable to start container process: /, "", message)
      sub(/^error during container init: /, "", message)
      text = message != "" ? ": " message : $4 != "" ? " (exit code " $4 ")" : ""
      found(at[pod], "pod " pod ", container " $2 " with the image \"" image[$2] "\": " $3 text)
      has_said = 1
      return
    }
    end_of_pod()
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
      pod = $2 "/" $3
      sick[pod] = 1; at[pod] = $4; phase = $5
      text = rest(6)
      # What the pod does not say leaves its marks.
      sub(/^[ :]*/, "", text)
      sub(/[ :]*$/, "", text)
      has_said = text != ""
      if (has_said) found($4, "pod " pod ": " phase ", " text)
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
  /^@[NPICE]\|/ { now = $0; if (line != "") tell(line); line = now; next }
  { line = line " " $0 }
  END {
    if (line != "") tell(line)
    end_of_pod()
    for (i = 1; i <= n; i++) found(where[events[i]], "pod " events[i] ": " last[events[i]])
  }'
exit 0
