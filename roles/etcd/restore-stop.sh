# The control plane stops, and does not start by itself: its manifests wait in another folder. A kubelet that runs stops what they
# described; where none does, that is done here. running.sh stands in front.
# $1: the folder of manifests; $2: where they wait.
set -e
manifests=$1 waiting=$2
mkdir -p "$waiting"
for component in kube-apiserver kube-controller-manager kube-scheduler; do
  [ ! -e "$manifests/$component.yaml" ] || mv -f "$manifests/$component.yaml" "$waiting/"
done
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
