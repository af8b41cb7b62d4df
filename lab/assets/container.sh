#!/bin/sh
# Makes an installed machine (debian.sh) one that runs as a container: run once by mmdebstrap on the controller. $1 is
# the root directory.
set -eu
root=$1

# Units that reach for hardware, the network device that the engine has set up, or the debugging mounts of the host's
# kernel.
for unit in getty@tty1.service dev-hugepages.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
    sys-kernel-config.mount sys-fs-fuse-connections.mount systemd-remount-fs.service \
    systemd-networkd.service systemd-networkd.socket systemd-networkd-wait-online.service \
    systemd-udevd.service systemd-udevd-kernel.socket systemd-udevd-control.socket \
    systemd-udev-trigger.service systemd-udev-settle.service fstrim.timer; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done

# The kernel's log and its process limit are the host's.
mkdir -p "$root/etc/systemd/journald.conf.d"
printf '[Journal]\nReadKMsg=no\n' >"$root/etc/systemd/journald.conf.d/lab.conf"
rm -f "$root/usr/lib/sysctl.d/50-pid-max.conf"
