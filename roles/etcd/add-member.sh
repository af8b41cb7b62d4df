# On a member that is healthy: makes a machine known to the cluster as a learner, and prints the cluster as etcd wants to be told.
# $1: the folder of etcd's certificates; $2: the machine's name as a member; $3: its peer URL.
set -e
certificates=$1 name=$2 url=$3
ctl() {
  etcdctl --command-timeout=20s --endpoints https://127.0.0.1:2379 --cacert "$certificates/ca.pem" \
    --cert "$certificates/member.pem" --key "$certificates/member-key.pem" "$@"
}
# Lines of `member list`: id, state, name, peer URLs, client URLs, is-learner.
list=$(ctl member list)
if echo "$list" | awk -F ', ' -v name="$name" -v url="$url" '$3 == name && $4 != url { found = 1 } END { exit !found }'; then
  echo "a member called $name is there already: set etcd_member_name of the new one" >&2
  exit 1
fi
old=$(echo "$list" | awk -F ', ' -v url="$url" '$4 == url && $2 == "started" { print $1 }')
[ -z "$old" ] || ctl member remove "$old" >&2
known() { ctl member list | awk -F ', ' -v url="$url" '$4 == url { found = 1 } END { exit !found }'; }
attempt=0
until known; do
  # etcd takes in nobody before all members have known each other for five seconds.
  said=$(ctl member add "$name" --learner --peer-urls="$url" 2>&1) || {
    attempt=$((attempt + 1))
    [ $attempt -lt 40 ] || { echo "$said" >&2; exit 1; }
    sleep 0.5
  }
done
ctl member list | awk -F ', ' -v name="$name" '{ printf "%s%s=%s", sep, ($3 == "" ? name : $3), $4; sep = "," }'
