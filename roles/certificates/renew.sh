# Renews certificates of a machine, and lets what reads them start anew. Of what was cut off the rest is due again.
# $1: kubeadm's configuration; $2: what kubeadm renews; $3: the parts of the control plane that start anew;
# $4: the kubelet's new certificate with its key, or nothing; $5: whether the kubelet makes itself another one: `serving`, or nothing.
set -e
config=$1 names=$2 components=$3 kubelet=$4 serving=$5 pki=/var/lib/kubelet/pki
# The kubelet first: one that is not let in starts nothing.
if [ -n "$kubelet" ]; then
  umask 077
  printf '%s' "$kubelet" >"$pki/.renewed"
  mv -f "$pki/.renewed" "$pki/kubelet-client-renewed.pem"
  ln -sf "$pki/kubelet-client-renewed.pem" "$pki/.current"
  mv -f "$pki/.current" "$pki/kubelet-client-current.pem"
fi
[ -z "$serving" ] || rm -f "$pki/kubelet.crt" "$pki/kubelet.key"
for name in $names; do kubeadm certs renew "$name" --config "$config"; done
stopped=' '
for component in $components; do
  for id in $(ctr -n k8s.io containers ls -q "labels.\"io.kubernetes.container.name\"==$component"); do
    # Those that have ended already have no task.
    ! ctr -n k8s.io tasks kill -s SIGTERM "$id" 2>/dev/null || stopped="$stopped$id "
  done
done
# What answers from now on has the new ones.
stopping() {
  ctr -n k8s.io tasks ls | awk -v all="$stopped" '$3 == "RUNNING" && index(all, " " $1 " ") { found = 1 } END { exit !found }'
}
for _ in $(seq 120); do
  stopping || break
  sleep 0.5
done
# It starts what has ended, and without the pause that follows upon failures.
systemctl reset-failed kubelet 2>/dev/null || :
systemctl restart kubelet
