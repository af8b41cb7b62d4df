#!/bin/sh
# Makes a Debian root file system an installed machine: run once by mmdebstrap on the controller, outside the
# new system. $1 is the root directory. What differs between machines is left to boot.sh.
set -eu
root=$1

# A login user with sudo beside root: the normal case on a cloud image.
chroot "$root" useradd --create-home --shell /bin/bash --groups sudo admin
printf 'admin ALL=(ALL) NOPASSWD: ALL\n' >"$root/etc/sudoers.d/admin"
chmod 0440 "$root/etc/sudoers.d/admin"

# Identity belongs to the machine, not to the image.
rm -f "$root"/etc/ssh/ssh_host_* "$root/var/lib/dbus/machine-id"
: >"$root/etc/machine-id"
rm -f "$root/etc/hostname" "$root/etc/hosts" "$root/etc/resolv.conf"

# Units that reach for hardware, consoles, the debugging mounts of the host's kernel, or the internet.
for unit in getty.target getty-static.service console-getty.service getty@tty1.service \
    dev-hugepages.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount \
    sys-fs-fuse-connections.mount systemd-firstboot.service systemd-remount-fs.service \
    systemd-networkd.service systemd-networkd.socket systemd-networkd-wait-online.service \
    systemd-resolved.service systemd-timesyncd.service \
    systemd-udevd.service systemd-udevd-kernel.socket systemd-udevd-control.socket \
    systemd-udev-trigger.service systemd-udev-settle.service \
    apt-daily.timer apt-daily-upgrade.timer fstrim.timer e2scrub_all.timer; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
ln -sf /lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"

# The kernel's log and its process limit are the host's.
mkdir -p "$root/etc/systemd/journald.conf.d"
printf '[Journal]\nReadKMsg=no\n' >"$root/etc/systemd/journald.conf.d/lab.conf"
rm -f "$root/usr/lib/sysctl.d/50-pid-max.conf"

# Helpers for debuggers and bug reports are Python text that nothing here can run: machines have no Python at all.
rm -rf "$root/usr/share/gcc" "$root/usr/share/gdb" "$root/usr/share/apport"
