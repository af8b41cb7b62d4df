# What a machine has of the cluster's authorities, and of what they have signed. Read-only, and no private key is shown.
# The last line says that nothing is missing.
# $1: the folder of the cluster's certificates; $2: that of etcd's; $3: the note of how far the machine is.
certificates=$1 etcd=$2 note=$3
[ ! -r "$note" ] || { printf 'note '; cat "$note"; }
for path in "$certificates/ca.crt" "$certificates/front-proxy-ca.crt" "$certificates/apiserver.crt" \
  "$certificates/apiserver-kubelet-client.crt" "$certificates/front-proxy-client.crt" "$etcd/ca.pem" "$etcd/member.pem" \
  "$etcd/client.pem" /var/lib/kubelet/pki/kubelet-client-current.pem; do
  [ -r "$path" ] || continue
  echo "file $path"
  # Keys may stand in the same file.
  sed -n '/BEGIN CERTIFICATE/,/END CERTIFICATE/p' "$path"
done
for path in kubelet admin super-admin controller-manager scheduler; do
  path=/etc/kubernetes/$path.conf
  [ -r "$path" ] || continue
  echo "kubeconfig $path"
  while read -r key value; do
    case $key in certificate-authority-data: | client-certificate-data:) echo "$key $value" ;; esac
  done <"$path"
done
for path in "$certificates/ca.key" "$certificates/front-proxy-ca.key" "$etcd/ca-key.pem"; do
  [ ! -s "$path" ] || echo "key $path"
done
manifest=/etc/kubernetes/manifests/kube-controller-manager.yaml
if [ -r "$manifest" ]; then
  while read -r _ argument; do
    case $argument in --cluster-signing-cert-file=*) echo "signs-with ${argument#*=}" ;; esac
  done <"$manifest"
fi
echo whole
