# Removes the mirrors that muster has set and that are wanted no more, and notes those that are; or says whether that is so already.
# $1: remove, or look; then the prefixes of registries that have mirrors.
what=$1; shift
list=/var/lib/muster/mirrors
wanted=$(printf '%s\n' "$@")
noted=
[ ! -r $list ] || noted=$(cat $list)
if [ "$what" = look ]; then
  [ "$noted" = "$wanted" ]
  exit
fi
for prefix in $noted; do
  kept=no
  for other; do [ "$other" != "$prefix" ] || kept=yes; done
  [ $kept = no ] || continue
  rm -f "/etc/containerd/certs.d/$prefix/hosts.toml"
  # Certificates of somebody's may stand beside it.
  rmdir "/etc/containerd/certs.d/$prefix" 2>/dev/null || :
done
if [ $# = 0 ]; then
  rm -f $list
  exit
fi
mkdir -p /var/lib/muster
printf '%s\n' "$wanted" >$list
