# Prints the drop-ins by which the kubelet or the container engine starts another program than its unit says: UNIT FILE. Of those with
# one name the first in this order counts (systemd.unit(5)).
drop_ins() {
  for unit in kubelet containerd; do
    seen=' '
    for folder in /etc/systemd/system /run/systemd/system /usr/local/lib/systemd/system /usr/lib/systemd/system /lib/systemd/system; do
      for file in "$folder/$unit.service.d"/*.conf; do
        [ -e "$file" ] || continue
        case $seen in *" ${file##*/} "*) continue ;; esac
        seen="$seen${file##*/} "
        ! grep -q '^[[:space:]]*ExecStart[[:space:]]*=' "$file" || echo "$unit $file"
      done
    done
  done
}
