# A program in a static pod is told by a signal to take up its configuration. One that is not running reads it when it starts.
# $1: where the hash of the configuration ($2) is kept when it is done; $3: the name of the container; $4: the signal.
runs() {
  ctr -n k8s.io tasks ls | while read -r task _ status; do
    [ "$task $status" != "$1 RUNNING" ] || echo yes
  done
}
found=$(ctr -n k8s.io containers ls -q "labels.\"io.kubernetes.container.name\"==$3,labels.\"io.kubernetes.pod.namespace\"==kube-system")
for container in $found; do
  # Containers that have ended are in the list, too, and one may end before it is told: the one after it reads the file.
  [ -n "$(runs "$container")" ] || continue
  ctr -n k8s.io tasks kill --signal "$4" "$container" || [ -z "$(runs "$container")" ]
done
mkdir -p "${1%/*}"
echo "$2" >"$1"
