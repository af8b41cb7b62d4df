# A learner gets its vote when it has caught up, through one of the others.
# $1: the folder of etcd's certificates; $2: the client URLs of the other members; $3: this machine's peer URL.
certificates=$1 others=$2 url=$3 id=
ctl() {
  etcdctl --command-timeout=5s --cacert "$certificates/ca.pem" \
    --cert "$certificates/member.pem" --key "$certificates/member-key.pem" "$@"
}
# Five minutes are the end, so that what comes next does not wait for this, however long an attempt takes: where nobody answers that is
# its whole time, and a learner says at once that it is none that votes.
begun=$(date +%s)
while :; do
  ! ctl --endpoints https://127.0.0.1:2379 endpoint health || exit 0
  # Lines of `member list`: id, state, name, peer URLs, client URLs, is-learner.
  id=$(ctl --endpoints "$others" member list | awk -F ', ' -v url="$url" '$4 == url && $6 == "true" { print $1 }') || true
  [ -z "$id" ] || ctl --endpoints "$others" member promote "$id" || true
  # It ends by itself where the others do not know it: nobody starts it again.
  if [ "$(systemctl is-active etcd)" = inactive ]; then
    echo 'etcd has ended by itself: journalctl -u etcd' >&2
    exit 1
  fi
  [ $(($(date +%s) - begun)) -lt 300 ] || break
  sleep 0.5
done
if [ -n "$id" ]; then
  echo 'etcd has not caught up with the other members within five minutes: the same command goes on with it; journalctl -u etcd' >&2
else
  echo 'etcd sees no majority of its members: bring their machines back; if most are lost for good: muster recover' >&2
fi
exit 1
