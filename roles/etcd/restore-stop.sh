# The control plane stops, and does not start by itself: its manifests wait in another folder. A kubelet that runs stops what they
# described; where none does, that is done here. running.sh stands in front.
# $1: the folder of manifests; $2: where they wait; $3: where they may wait already for another reason.
set -e
manifests=$1 waiting=$2 other=$3
mkdir -p "$waiting"
# What the kubelet has is the newest.
for component in kube-apiserver kube-controller-manager kube-scheduler; do
  for folder in "$other" "$manifests"; do
    [ ! -e "$folder/$component.yaml" ] || mv -f "$folder/$component.yaml" "$waiting/"
  done
done
rm -rf "$other"
for attempt in $(seq 120); do
  left=$(running)
  [ -n "$left" ] || exit 0
  if ! systemctl is-active -q kubelet || [ "$attempt" = 80 ]; then
    for id in $left; do ctr -n k8s.io tasks kill -s SIGTERM "$id" || :; done
  fi
  sleep 0.5
done
echo "still running: $left" >&2
exit 1
