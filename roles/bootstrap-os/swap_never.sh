# Nothing switches swap on any more. Lines of /etc/fstab stay there as comments, and units of the administrator's own beside their
# place, so that nobody wonders where they went.
if [ -e /etc/fstab ]; then
  temporary=$(mktemp /etc/.muster.XXXXXX)
  trap 'rm -f "$temporary"' EXIT
  cp -p /etc/fstab "$temporary"
  awk '!/^[[:space:]]*#/ && $3 == "swap" { print "# kubernetes: " $0; next } { print }' /etc/fstab >"$temporary"
  sync "$temporary"
  mv -f "$temporary" /etc/fstab
fi
mask() {
  mkdir -p "${1%/*}"
  if [ -e "$1" ] && [ ! -L "$1" ]; then mv -f "$1" "$1.kubernetes-off"; fi
  ln -sfn /dev/null "$1"
}
swap_sources | while read -r kind name; do
  case $kind in
    unit) mask "/etc/systemd/system/$name" ;;
    generator) mask "/etc/systemd/system-generators/$name" ;;
  esac
done
[ ! -d /run/systemd/system ] || systemctl daemon-reload
