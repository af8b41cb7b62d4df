# mask PATH: systemd does not read what has this name elsewhere (systemd.unit(5)). One of the administrator's own is put beside its
# place. What was masked is noted, and before it is done: so it is undone also where this is cut off, and nothing else is.
mask() {
  mkdir -p "${1%/*}"
  mkdir -p "/var/lib/muster/stamps"
  echo "$1" >>"/var/lib/muster/stamps/masked"
  if [ -e "$1" ] && [ ! -L "$1" ]; then mv -f "$1" "$1.kubernetes-off"; fi
  ln -sfn /dev/null "$1"
}
