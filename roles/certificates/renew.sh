# Renews certificates of a machine, and lets what reads them start anew (restart.sh). Of what was cut off the rest is due again.
# $1: kubeadm's configuration; $2: what kubeadm renews; $3: the parts of the control plane that start anew;
# $4: the kubelet's new certificate with its key, or nothing; $5: whether the kubelet gets itself another one to serve with: `serving`, or
# nothing;
# $6: the authorities that kubeconfigs trust from now on, as base64, or nothing where they stay as they are.
set -e
config=$1 names=$2 components=$3 kubelet=$4 serving=$5 trusted=$6 pki=/var/lib/kubelet/pki
renewing=/var/lib/muster/stamps/renewing-certificates
# The kubelet first: one that is not let in starts nothing.
if [ -n "$kubelet" ]; then
  umask 077
  printf '%s' "$kubelet" >"$pki/.renewed"
  sync "$pki/.renewed"
  mv -f "$pki/.renewed" "$pki/kubelet-client-renewed.pem"
  ln -sf "$pki/kubelet-client-renewed.pem" "$pki/.current"
  mv -f "$pki/.current" "$pki/kubelet-client-current.pem"
fi
[ -z "$serving" ] || rm -f "$pki/kubelet.crt" "$pki/kubelet.key" "$pki"/kubelet-server-*.pem
# kubeadm writes a key, and then its certificate: a power cut between the two leaves one that is not the other's. Until all has started
# anew they are all due (identity.sh), however long they are good for.
if [ -n "$names" ]; then
  mkdir -p "${renewing%/*}"
  : >"$renewing"
  sync "$renewing"
fi
for name in $names; do kubeadm certs renew "$name" --config "$config"; done
if [ -n "$trusted" ]; then
  # After kubeadm, which writes the first of several authorities alone.
  umask 077
  for name in kubelet admin super-admin controller-manager scheduler discovery; do
    path=/etc/kubernetes/$name.conf
    [ -e "$path" ] || continue
    sed "s|^\( *certificate-authority-data:\) .*|\1 $trusted|" "$path" >"$path.muster"
    sync
    mv -f "$path.muster" "$path"
  done
fi
sync
restart "$components"
rm -f "$renewing"
