# etcdctl on a member, and of that member alone. $1: the folder of etcd's certificates.
certificates=$1
ctl() {
  ETCDCTL_API=3 etcdctl --command-timeout=5s --endpoints https://127.0.0.1:2379 --cacert "$certificates/ca.pem" \
    --cert "$certificates/member.pem" --key "$certificates/member-key.pem" "$@"
}
