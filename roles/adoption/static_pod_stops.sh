# The static pod of etcd stops, whose manifest ($1) goes where it waits ($2). $3: the name of the node.
manifest=$1 waits=$2
mkdir -p "${waits%/*}"
cp -p "$manifest" "$waits.part"
sync "$waits.part"
mv -f "$waits.part" "$waits"
rm -f "$manifest"
they_end of_pod etcd "$3" || {
  mv -f "$waits" "$manifest"
  echo "the static pod of etcd does not stop: $left" >&2
  exit 1
}
