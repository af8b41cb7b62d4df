# Whether a member that was taken over from another tool may still begin with what etcd 3.5 has written while its v2 API was switched on.
# A snapshot of its own that is younger than that has nothing of it, and a member begins with its last one.
# $1: the folder of its data.
kept=/var/lib/muster/adopted/etc/etcd.env
grep -qi '^ETCD_ENABLE_V2=.*true' "$kept" 2>/dev/null || exit 1
case $(etcd --version 2>/dev/null) in *' 3.5.'*) ;; *) exit 1 ;; esac
# When it was kept, just before etcd began without that.
since=$(stat -c %Z "$kept")
for file in "$1"/member/snap/*.snap; do
  if [ -e "$file" ] && [ "$(stat -c %Y "$file")" -gt "$since" ]; then exit 1; fi
done
