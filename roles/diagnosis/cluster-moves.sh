# What moves in the cluster: prints something else than before when a node or one of the system's pods was made, or is in another
# state. A pod whose containers end again and again moves three times; and nothing moves for the better while a disk is full.
state='{.status.phase} {.status.conditions[*].status} {.status.containerStatuses[*].state.waiting.reason}'
full='{.status.conditions[?(@.type=="DiskPressure")].status}'
line="{.kind}|{.metadata.namespace}|{.metadata.name}|{.spec.nodeName}|$full|{.status.containerStatuses[*].restartCount}|$state"
kubectl get nodes,pods -A -o "jsonpath={range .items[*]}$line{\"\n\"}{end}" | awk -F '|' '
  $5 == "True" { full = 1 }
  $1 == "Pod" && $2 != "kube-system" && $2 != "kube-flannel" { next }
  {
    most = 0
    n = split($6, restarts, " ")
    for (i = 1; i <= n; i++) if (restarts[i] > most) most = restarts[i]
    all = all "\n" (most < 3 ? $0 : $1 "|" $2 "|" $3)
  }
  END { print full ? "a disk is full" : all }'
