# drop_ins UNIT: prints the drop-ins by which a unit starts another program than it says itself. Of those with one name the first in
# this order counts (systemd.unit(5)).
drop_ins() {
  seen=' '
  for folder in /etc/systemd/system /run/systemd/system /usr/local/lib/systemd/system /usr/lib/systemd/system /lib/systemd/system; do
    for file in "$folder/$1.service.d"/*.conf; do
      [ -e "$file" ] || continue
      case $seen in *" ${file##*/} "*) continue ;; esac
      seen="$seen${file##*/} "
      ! grep -q '^[[:space:]]*ExecStart[[:space:]]*=' "$file" || echo "$file"
    done
  done
}
