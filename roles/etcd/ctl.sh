# etcdctl on a member, and of that member alone. $1: the folder of etcd's certificates. It gives up after $patience.
certificates=$1 patience=5s
ctl() {
  ETCDCTL_API=3 etcdctl --command-timeout="$patience" --endpoints https://127.0.0.1:2379 --cacert "$certificates/ca.pem" \
    --cert "$certificates/member.pem" --key "$certificates/member-key.pem" "$@"
}
