# The unit of etcd does not run as muster has it: that of before, which is kept ($1), comes back and runs, with its program where
# muster's ($2: their folder) have taken the place of it.
for file in /etc/etcd.env /etc/systemd/system/etcd.service; do
  [ -e "$1$file" ] || {
    echo "$1$file is not there, with which etcd ran before" >&2
    exit 1
  }
done
for file in "$2/etcd" "$2/etcdctl" "$2/etcdutl" /etc/etcd.env /etc/systemd/system/etcd.service; do
  [ -e "$1$file" ] || continue
  cp -p "$1$file" "$file.before"
  sync "$file.before"
  mv -f "$file.before" "$file"
done
rm -f /var/lib/muster/stamps/etcd.service
systemctl daemon-reload
systemctl reset-failed etcd 2>/dev/null || :
systemctl enable -q etcd
systemctl restart etcd
