# Keeps what etcd holds in a file that only root can read.
# $1: the folder of etcd's certificates; $2: the file.
certificates=$1 file=$2
umask 077
mkdir -p "${file%/*}"
ETCDCTL_API=3 etcdctl --command-timeout=120s --endpoints https://127.0.0.1:2379 --cacert "$certificates/ca.pem" \
  --cert "$certificates/member.pem" --key "$certificates/member-key.pem" snapshot save "$file.part"
etcdutl snapshot status "$file.part"
sync "$file.part"
mv -f "$file.part" "$file"
