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
# is_wanted PREFIX WANTED...
is_wanted() {
  one=$1; shift
  for other; do
    if [ "$other" = "$one" ]; then return 0; fi
  done
  return 1
}
# What was kept, and has come back or is not wanted: WANTED...
kept_in_vain() {
  for copy in "$list-before"/*; do
    [ ! -e "$copy" ] || is_wanted "${copy##*/}" "$@" || printf '%s\n' "$copy"
  done
}
case $what in
  look) [ "$noted" = "$wanted" ] && [ -z "$(kept_in_vain "$@")" ] ;;
  is-kept) for prefix; do is_noted "$prefix" || exit 1; done ;;
  keep)
    for prefix; do
      # One that a run has left which was cut off is of another day.
      is_noted "$prefix" || rm -rf "$list-before/$prefix"
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
      ! is_wanted "$prefix" "$@" || continue
      if [ -e "$list-before/$prefix/hosts.toml" ]; then
        # The copy goes when the list does not name it any more: what comes back is somebody's, and no run may take it for muster's.
        mkdir -p "/etc/containerd/certs.d/$prefix"
        cp -p "$list-before/$prefix/hosts.toml" "/etc/containerd/certs.d/$prefix/.hosts.toml"
        sync "/etc/containerd/certs.d/$prefix/.hosts.toml"
        mv -f "/etc/containerd/certs.d/$prefix/.hosts.toml" "/etc/containerd/certs.d/$prefix/hosts.toml"
        continue
      fi
      rm -f "/etc/containerd/certs.d/$prefix/hosts.toml"
      # Certificates of somebody's may stand beside it.
      rmdir "/etc/containerd/certs.d/$prefix" 2>/dev/null || :
    done
    if [ $# = 0 ]; then
      rm -f "$list"
    else
      note "$wanted"
    fi
    kept_in_vain "$@" | while read -r copy; do rm -rf "$copy"; done
    rmdir "$list-before" 2>/dev/null || :
    ;;
esac
