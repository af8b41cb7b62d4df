# The kubelet stops the static pod of etcd whose manifest ($1) goes where it waits ($2); where no kubelet runs, that is done here.
manifest=$1 waits=$2
mkdir -p "${waits%/*}"
cp -p "$manifest" "$waits.part"
sync "$waits.part"
mv -f "$waits.part" "$waits"
rm -f "$manifest"
for attempt in $(seq 300); do
  left=$(running etcd)
  [ -n "$left" ] || exit 0
  if ! systemctl is-active -q kubelet || [ "$attempt" = 200 ]; then
    for id in $left; do ctr -n k8s.io tasks kill -s SIGTERM "$id" || :; done
  fi
  sleep 0.2
done
mv -f "$waits" "$manifest"
echo "the static pod of etcd does not stop: $left" >&2
exit 1
