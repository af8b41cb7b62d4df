# Takes away what foreign.sh finds, which stands in front. k3s and RKE2 first, which know themselves what they have.
uninstallers | while read -r program; do "$program" </dev/null || echo "$program ended with status $?" >&2; done
for unit in $(units); do
  systemctl disable -q --now "$unit" || :
  rm -f "/etc/systemd/system/$unit.service"
done
paths | while read -r path; do rm -rf "$path"; done
rmdir /etc/systemd/system/kubelet.service.d /etc/systemd/system/etcd.service.d 2>/dev/null || :
systemctl daemon-reload || :
still=$(left)
[ -z "$still" ] || {
  printf 'still there:\n%s\n' "$still" >&2
  exit 1
}
