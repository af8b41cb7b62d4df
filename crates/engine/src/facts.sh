# Everything the controller wants to know of a machine, in one program. Read-only. One line a fact: KEY VALUE.
# Tools that may be missing are not assumed: the kernel's own files are preferred.
say() { printf '%s %s\n' "$1" "$2"; }
say clock "$(date +%s)"
say hostname "$(cat /proc/sys/kernel/hostname)"
say kernel "$(uname -r)"
say arch "$(uname -m)"
[ ! -r /etc/machine-id ] || say machine_id "$(cat /etc/machine-id)"
[ ! -r /sys/class/dmi/id/product_uuid ] || say product_uuid "$(cat /sys/class/dmi/id/product_uuid)"
say boot_id "$(cat /proc/sys/kernel/random/boot_id)"
[ ! -r /etc/os-release ] || sed 's/^/os /' /etc/os-release
say cpus "$(grep -c ^processor /proc/cpuinfo)"
sed -n 's/^\(MemTotal\|SwapTotal\): *\([0-9]*\) kB/\1 \2/p' /proc/meminfo
# A container may have less than the kernel tells.
for f in /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes; do [ ! -r $f ] || say memory_limit "$(cat $f)"; done
ip -o addr show 2>/dev/null | while read -r _ dev family address _; do say address "$dev $family $address"; done
ip -o route show 2>/dev/null | sed 's/^/route /'
for d in /sys/class/net/*; do
  [ "${d##*/}" = lo ] || [ ! -e "$d/device" ] && [ ! -e "$d/ifindex" ] || say mac "${d##*/} $(cat "$d/address" 2>/dev/null)"
done
[ ! -r /etc/resolv.conf ] || sed 's/^/resolv /' /etc/resolv.conf
[ ! -r /run/systemd/resolve/resolv.conf ] || sed 's/^/uplink_resolv /' /run/systemd/resolve/resolv.conf
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then say cgroup 2; elif [ -d /sys/fs/cgroup/memory ]; then say cgroup 1; else say cgroup 0; fi
[ ! -d /run/systemd/system ] || say init systemd
for m in apt-get dnf yum zypper apk; do if command -v $m >/dev/null; then say package_manager $m; break; fi; done
for t in awk conntrack ethtool gzip ip ipset iptables mount nft sha256sum socat ss stat swapoff systemctl tar; do
  ! command -v $t >/dev/null || say tool $t
done
df -P -k / /var /var/lib /tmp 2>/dev/null | awk 'NR > 1 { print "disk", $6, $4, $2 }' | sort -u
for d in /usr /usr/local/bin /etc; do [ -w $d ] || say readonly $d; done
grep -q '	\?overlay$' /proc/filesystems && say feature overlay
[ ! -e /proc/sys/net/bridge/bridge-nf-call-iptables ] || say feature br_netfilter
for m in vxlan ip_vs nf_conntrack; do [ ! -d /sys/module/$m ] || say feature $m; done
sed -n 's/^CapEff:[[:space:]]*/capabilities /p' /proc/self/status
sed -n 's/^\(swap\|[^#[:space:]]*[[:space:]][^[:space:]]*[[:space:]]swap\)[[:space:]].*/swap_entry &/p' /etc/fstab 2>/dev/null
if command -v ss >/dev/null; then
  ss -Hltnp 2>/dev/null | awk '{ n = split($4, a, ":"); p = $6; sub(/^users:\(\("/, "", p); sub(/".*/, "", p); print "port", a[n], (p == "" ? "?" : p) }' | sort -u
else
  awk 'FNR > 1 && $4 == "0A" { split($2, a, ":"); print "portx", a[2] }' /proc/net/tcp /proc/net/tcp6 2>/dev/null | sort -u
fi
command -v getenforce >/dev/null && say selinux "$(getenforce)"
exit 0
