# Everything the controller wants to know of a machine, in one program that only looks.
#
# Starting programs is what takes time, so there are few: `head` hands over the kernel's own files, each under a header
# `==> PATH <==` as it does for several files, and the same header names what other programs answer. The controller
# takes it apart. What a machine does not have is absent from the answer.
part() { printf '\n==> %s <==\n' "$1"; }
part clock
date +%s
os_release=/etc/os-release
[ -r $os_release ] || os_release=/usr/lib/os-release
head -n 500 $os_release /etc/machine-id /etc/resolv.conf /run/systemd/resolve/resolv.conf /etc/fstab \
  /proc/sys/kernel/hostname /proc/sys/kernel/osrelease /proc/sys/kernel/random/boot_id /proc/sys/kernel/modules_disabled \
  /proc/meminfo /proc/swaps /proc/filesystems /proc/self/status /proc/cgroups /sys/fs/cgroup/cgroup.controllers \
  /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/devices/system/cpu/online \
  /sys/class/dmi/id/product_uuid /sys/class/net/*/address /sys/fs/selinux/enforce /run/systemd/container 2>/dev/null
part machine
uname -m
part addresses
ip -o addr show 2>/dev/null
part routes
ip -o route show 2>/dev/null
part modules
read -r kernel </proc/sys/kernel/osrelease
grep -oE '^[^:]*/(overlay|br_netfilter|vxlan|ipip|ip_vs|ip_set|nf_tables|nf_conntrack)\.ko' \
  "/lib/modules/$kernel/modules.dep" "/lib/modules/$kernel/modules.builtin" 2>/dev/null
part existing
for path in /run/systemd/system /sys/fs/cgroup/memory /proc/sys/net/bridge/bridge-nf-call-iptables \
  /sys/module/vxlan /sys/module/ipip /sys/module/ip_vs /sys/module/ip_set /sys/module/nf_tables /sys/module/nf_conntrack; do
  [ ! -e $path ] || echo $path
done
part package_manager
for manager in apt-get dnf yum zypper apk; do
  if command -v $manager >/dev/null; then
    echo $manager
    break
  fi
done
part tools
for tool in awk conntrack ethtool gzip ip ipset iptables mount nft nsenter sha256sum socat ss stat swapoff systemctl tar; do
  ! command -v $tool >/dev/null || echo $tool
done
part readonly
# A folder that is not there can be made where its nearest parent can be written.
for folder in /etc /opt/bin /usr /usr/local/bin /var/lib; do
  parent=$folder
  while [ ! -e "${parent:-/}" ]; do parent=${parent%/*}; done
  [ -w "${parent:-/}" ] || echo $folder
done
exit 0
