# The controller manager signs with another certificate. The kubelet passes over what has a dot in front, and starts the pod anew.
# $1: the manifest; $2: the certificate.
set -e
manifest=$1 certificate=$2
sed "s|--cluster-signing-cert-file=.*|--cluster-signing-cert-file=$certificate|" "$manifest" >"${manifest%/*}/.controller-manager"
chmod 600 "${manifest%/*}/.controller-manager"
# Not half of it after a power cut.
sync "${manifest%/*}/.controller-manager"
mv -f "${manifest%/*}/.controller-manager" "$manifest"
