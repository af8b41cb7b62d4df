# Nothing switches swap on any more. Lines of /etc/fstab stay there as comments, so that nobody wonders where they
# went.
if [ -e /etc/fstab ]; then
  temporary=$(mktemp /etc/.muster.XXXXXX)
  trap 'rm -f "$temporary"' EXIT
  cp -p /etc/fstab "$temporary"
  awk '!/^[[:space:]]*#/ && $3 == "swap" { print "# kubernetes: " $0; next } { print }' /etc/fstab >"$temporary"
  sync "$temporary"
  mv -f "$temporary" /etc/fstab
fi
swap_sources | while read -r kind name; do
  case $kind in
    unit) mask "/etc/systemd/system/$name" ;;
    generator) mask "/etc/systemd/system-generators/$name" ;;
  esac
done
[ ! -d /run/systemd/system ] || systemctl daemon-reload
