# Removes what rules.sh finds, which stands in front, when kube-proxy has ended: until then it would write its rules again.
for _ in $(seq 60); do
  [ -n "$(proxies)" ] || break
  sleep 1
done
if [ -z "$(proxies)" ]; then
  for command in $(iptables_commands); do
    removal=$("$command-save" 2>/dev/null | removal_of_rules)
    # The kubelet, and what carries the services now, change rules at the same time.
    [ -z "$removal" ] || printf '%s\n' "$removal" | "$command-restore" --noflush -w 10
  done
  tables | while read -r family table; do nft delete table "$family" "$table"; done
  no_virtual_servers
  [ ! -e /sys/class/net/kube-ipvs0 ] || ip link delete dev kube-ipvs0
  for set in $(address_sets); do ipset destroy "$set"; done
fi
left=$(left)
[ -z "$left" ] || {
  printf '%s\n' "$left"
  exit 1
}
