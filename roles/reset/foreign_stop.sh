# Stops what foreign.sh finds, which stands in front. k3s and RKE2 first, which know themselves what they have.
uninstallers | while read -r program; do "$program" </dev/null || echo "$program ended with status $?" >&2; done
for unit in $(units); do
  systemctl disable -q --now "$unit" || :
  rm -f "/etc/systemd/system/$unit.service"
done
systemctl daemon-reload || :
still=$(uninstallers; units)
[ -z "$still" ] || {
  printf 'still there:\n%s\n' "$still" >&2
  exit 1
}
