# Removes what rules.sh finds, which stands in front, when kube-router has ended: until then it would write its rules again.
for _ in $(seq 60); do
  [ -n "$(controllers)" ] || break
  sleep 1
done
for command in $(filters); do
  removal=$("$command-save" -t filter 2>/dev/null | removal_of_rules)
  # kube-proxy changes rules at the same time.
  [ -z "$removal" ] || printf '%s\n' "$removal" | "$command-restore" --noflush -w 10
done
for set in $(address_sets); do ipset destroy "$set"; done
left=$(left)
[ -z "$left" ] || {
  printf '%s\n' "$left"
  exit 1
}
