# The files in which muster tells containerd of registries. Which are muster's is noted in a list; what was there before is kept, and
# comes back. Files of others stay.
# $1: what to do: `keep` what is where these are to be, `remove` those that are wanted no more, or say whether that is done (`is-kept`,
# `look`); $2: the list; then the registries.
what=$1 list=$2; shift 2
wanted=$(printf '%s\n' "$@")
noted=
[ ! -r "$list" ] || noted=$(cat "$list")
is_noted() {
  for other in $noted; do
    if [ "$other" = "$1" ]; then return 0; fi
  done
  return 1
}
# note TEXT: the list is on the disk before what it is about is changed.
note() {
  mkdir -p "${list%/*}"
  printf '%s\n' "$1" >"$list.new"
  sync "$list.new"
  mv -f "$list.new" "$list"
}
case $what in
  look) [ "$noted" = "$wanted" ] ;;
  is-kept) for prefix; do is_noted "$prefix" || exit 1; done ;;
  keep)
    for prefix; do
      is_noted "$prefix" || [ ! -e "/etc/containerd/certs.d/$prefix/hosts.toml" ] || {
        mkdir -p -m 700 "$list-before/$prefix"
        cp -p "/etc/containerd/certs.d/$prefix/hosts.toml" "$list-before/$prefix/hosts.toml"
        sync "$list-before/$prefix/hosts.toml"
      }
      is_noted "$prefix" || noted="$noted
$prefix"
    done
    note "$noted"
    ;;
  remove)
    for prefix in $noted; do
      kept=no
      for other; do [ "$other" != "$prefix" ] || kept=yes; done
      [ $kept = no ] || continue
      if [ -e "$list-before/$prefix/hosts.toml" ]; then
        mkdir -p "/etc/containerd/certs.d/$prefix"
        mv -f "$list-before/$prefix/hosts.toml" "/etc/containerd/certs.d/$prefix/hosts.toml"
        rmdir "$list-before/$prefix"
        continue
      fi
      rm -f "/etc/containerd/certs.d/$prefix/hosts.toml"
      # Certificates of somebody's may stand beside it.
      rmdir "/etc/containerd/certs.d/$prefix" 2>/dev/null || :
    done
    if [ $# = 0 ]; then
      rm -f "$list"
      rmdir "$list-before" 2>/dev/null || :
    else
      note "$wanted"
    fi
    ;;
esac
