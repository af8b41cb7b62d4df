# shellcheck shell=sh
# The firmware of a container machine: what happens between power-on and systemd, on each boot, as process 1.
# Run by `sh -c` from the container's own definition, after the function of first_boot.sh.
# LAB_HOSTNAME, LAB_NAMESERVERS (space separated), LAB_AUTHORIZED_KEY; LAB_MEMORY_KIB if the memory is limited; LAB_IPV6, if it has
# IPv6: its address, and that of the router.
set -eu

# The engine gives kernel directories read-only and mounts private; systemd, kubelet and CNI need more.
mount -o remount,rw /sys
while read -r _ _ _ _ at _; do
    case $at in
    # A plain remount is "busy": only the flags of this bind mount may change.
    /sys/fs/cgroup | /sys/fs/cgroup/*) mount -o remount,bind,rw "$at" ;;
    esac
done </proc/self/mountinfo
mount --make-rshared /
[ -e /dev/kmsg ] || mknod -m 0644 /dev/kmsg c 1 11
if [ -e /proc/sys/net/ipv6/conf/all/disable_ipv6 ]; then
    echo 0 >/proc/sys/net/ipv6/conf/all/disable_ipv6
fi
# The engine gives addresses of IPv4 alone. This one is there at once: nobody else can have it.
if [ -n "${LAB_IPV6:-}" ]; then
    ip address replace "${LAB_IPV6% *}" dev eth0 nodad
    ip -6 route replace default via "${LAB_IPV6#* }" dev eth0
fi

# The engine mounts its own files over these three: below them lie the machine's own, which programs may replace by
# rename, and which survive a reboot.
for file in hosts hostname resolv.conf; do
    ! mountpoint -q "/etc/$file" || umount "/etc/$file"
done
# The engine's resolver on 127.0.0.11 is reached through NAT rules; a bare machine has none.
nft flush ruleset
if [ -s /proc/net/ip_tables_names ]; then
    iptables-legacy -t nat -F && iptables-legacy -t nat -X
fi

# The first boot.
if [ ! -s /etc/machine-id ]; then
    systemd-machine-id-setup >/dev/null
    install_machine "$LAB_HOSTNAME" "$LAB_NAMESERVERS" "$LAB_AUTHORIZED_KEY"
fi

# /proc and the DMI tables speak of the host. Its swap is not ours to switch off, its boot_id does not change when
# we reboot, a memory limit is invisible there, and kubeadm wants a product_uuid that no other machine has.
mkdir -p /run/lab
cat /proc/sys/kernel/random/uuid >/run/lab/boot_id
mount --bind /run/lab/boot_id /proc/sys/kernel/random/boot_id
printf 'Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n' >/run/lab/swaps
mount --bind /run/lab/swaps /proc/swaps
if [ -n "${LAB_MEMORY_KIB:-}" ]; then
    awk -v total="$LAB_MEMORY_KIB" '
        $1 == "MemTotal:" { $2 = total }
        $1 == "MemFree:" || $1 == "MemAvailable:" { $2 = int(total * 0.9) }
        $1 == "SwapTotal:" || $1 == "SwapFree:" { $2 = 0 }
        { printf "%-15s %8d%s\n", $1, $2, (NF > 2 ? " " $3 : "") }' /proc/meminfo >/run/lab/meminfo
    mount --bind /run/lab/meminfo /proc/meminfo
fi
if [ -e /sys/class/dmi/id/product_uuid ]; then
    sed -E 's/(.{8})(.{4})(.{4})(.{4})(.{12})/\1-\2-\3-\4-\5/' /etc/machine-id >/run/lab/product_uuid
    mount --bind /run/lab/product_uuid /sys/class/dmi/id/product_uuid
fi

# systemd from version 256 boots on cgroup v1 only when told to; in a container its arguments are the kernel's.
set --
[ -e /sys/fs/cgroup/cgroup.controllers ] || set -- SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1 systemd.unified_cgroup_hierarchy=0
exec env -i container=docker PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /sbin/init "$@"
