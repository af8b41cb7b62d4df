# What only preflight wants to know of a machine. Read-only.
# $1: an address that must answer, or nothing; $2: a resolv.conf to show, or nothing;
# $3: whether to look for nf_tables inside the kernel (it leaves no other trace there); then folders that must have room.
say() { printf '%s %s\n' "$1" "$2"; }
[ ! -e /etc/kubernetes/kubelet.conf ] || say joined yes
[ ! -e /var/lib/muster/stamps/kubelet-config ] || say has_our_kubelet yes
if [ -n "$1" ] && command -v ping >/dev/null; then
  ping -c 1 -W 2 "$1" >/dev/null 2>&1 || say unanswered "$1"
fi
if [ -n "$2" ]; then
  if [ -r "$2" ]; then sed 's/^/resolv /' "$2"; else say resolv_missing "$2"; fi
fi
if [ "$3" = yes ]; then
  if [ -d /sys/module/nf_tables ] || grep -q nf_tables_module_init /proc/kallsyms; then say nf_tables yes; fi
fi
# Asked only where they are installed: systemctl costs some milliseconds.
if [ -e /etc/firewalld ] && systemctl -q is-active firewalld 2>/dev/null; then say firewall firewalld; fi
if grep -qs '^ENABLED=yes' /etc/ufw/ufw.conf; then say firewall ufw; fi
shift 3
count=$#
# A folder that is not there will be in the file system of its nearest parent.
for folder; do
  while [ ! -e "${folder:-/}" ]; do folder=${folder%/*}; done
  set -- "$@" "${folder:-/}"
done
shift $count
df -P -T -k "$@" | sed '1d; s/^/filesystem /'
if command -v ss >/dev/null; then
  ss -ltunp 2>/dev/null
else
  head -n 5000 /proc/net/tcp /proc/net/tcp6 /proc/net/udp /proc/net/udp6 2>/dev/null
fi
# After the sockets, because flannel may just be starting: by now the interface of a socket that was seen is there.
for interface in /sys/class/net/flannel* /sys/class/net/vxlan.calico /sys/class/net/cilium_vxlan /sys/class/net/cilium_geneve; do
  [ ! -e "$interface" ] || say vxlan "${interface##*/}"
done
exit 0
