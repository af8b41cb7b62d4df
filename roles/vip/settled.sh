# keepalived has run in its pod ($1) for so many seconds ($2): in that of the manifest which is there, and not in one that is about to end.
pod="labels.\"io.kubernetes.container.name\"==$1,labels.\"io.kubernetes.pod.namespace\"==kube-system"
uid=$(sed -n 's/^  uid: "\(.*\)"$/\1/p' "/etc/kubernetes/manifests/$1.yaml" 2>/dev/null) || uid=
[ -z "$uid" ] || pod="$pod,labels.\"io.kubernetes.pod.uid\"==$uid"
runs() {
  found=$(ctr -n k8s.io containers ls -q "$pod" 2>/dev/null)
  ctr -n k8s.io tasks ls 2>/dev/null | while read -r task _ status; do
    for container in $found; do
      [ "$task $status" != "$container RUNNING" ] || printf '%s\n' "$task"
    done
  done
}
before=$(runs "$1")
[ -n "$before" ] || { echo 'keepalived does not run'; exit 1; }
sleep "$2"
[ "$(runs "$1")" = "$before" ] || { echo 'keepalived has ended, and began anew'; exit 1; }
