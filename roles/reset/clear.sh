# Takes away what traces.sh finds, which stands in front; the network of the machine itself stays as it is. First, so that no
# container is started anew, the processes; then what they had mounted; then the network.
for round in 1 2 3 4 5 6 7 8 9 10; do
  left=$(pod_processes)
  [ -n "$left" ] || break
  # shellcheck disable=SC2086 # one word is one process
  kill -9 $left 2>/dev/null || :
  [ "$round" = 1 ] || sleep 0.3
done
# Whoever shares it takes it at once: what held it here was killed.
shared_addresses | while read -r address interface; do ip addr del "$address" dev "$interface" || :; done
# Containers that nobody needs any more: their images may stay.
if command -v ctr >/dev/null && systemctl -q is-active containerd; then
  for container in $(ctr -n k8s.io containers ls -q 2>/dev/null); do
    ctr -n k8s.io tasks rm -f "$container" >/dev/null 2>&1 || :
    ctr -n k8s.io containers rm "$container" >/dev/null 2>&1 || :
  done
fi
for round in 1 2 3; do
  mounts | while read -r point; do
    # Busy ones go as soon as nobody uses them any more.
    umount "$point" 2>/dev/null || umount -l "$point" || :
  done
  [ -n "$(mounts)" ] || break
done
# Those in which processes of others run are mounts still.
for point in /run/netns/cni-*; do
  [ ! -e "$point" ] || grep -q " $point " /proc/self/mountinfo || rm -f "$point"
done
no_virtual_servers
# The kernel's own interface of ipip stays, without the address that calico gave it.
if [ -n "$calico" ] && [ -e /sys/class/net/tunl0 ]; then
  ip addr flush dev tunl0 || :
  ip link set dev tunl0 down || :
fi
for destination in $(routes); do ip route del "$destination" || :; done
for interface in $(interfaces); do
  ip link set dev "$interface" down 2>/dev/null || :
  ip link delete dev "$interface" 2>/dev/null || :
done
set_aside | while read -r path; do mv "$path" "${path%.cilium_bak}"; done
pinned | while read -r path; do rm -rf "$path"; done
# The folders of tc(8) are somebody else's where something is in them.
[ -z "$cilium" ] || rmdir /sys/fs/bpf/tc/globals /sys/fs/bpf/tc 2>/dev/null || :
filters | while read -r words; do
  # shellcheck disable=SC2086 # words of a command
  tc filter del $words || :
done
# A machine finds its own addresses by the rule 0, as without cilium.
for family in 4 6; do
  [ -n "$(ip_rules "$family")" ] || continue
  ip "-$family" rule show | grep -q '^0:' || ip "-$family" rule add pref 0 lookup local || :
  for priority in $(ip_rules "$family"); do ip "-$family" rule del pref "$priority" || :; done
done
for command in $(iptables_commands); do
  removal=$("$command-save" 2>/dev/null | removal_of_rules)
  [ -z "$removal" ] || printf '%s\n' "$removal" | "$command-restore" --noflush
done
nft_tables | while read -r family table; do nft delete table "$family" "$table"; done
ip_sets | while read -r set; do ipset destroy "$set" || :; done
# Control groups that nobody is in any more.
systemctl stop kubepods.slice 2>/dev/null || :
left=$(traces)
[ -z "$left" ] || {
  printf '%s\n' "$left"
  exit 1
}
