#!/bin/sh
# Makes a Debian root file system an installed machine of any kind: run once by mmdebstrap on the controller, outside
# the new system. $1 is the root directory. What differs between machines is left to their first boot.
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

# Nobody logs in on the console, and nothing reaches for the internet.
for unit in getty.target getty-static.service console-getty.service systemd-firstboot.service \
    systemd-resolved.service systemd-timesyncd.service \
    apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
ln -sf /lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"

# Helpers for debuggers and bug reports are Python text that nothing here can run: machines have no Python at all.
rm -rf "$root/usr/share/gcc" "$root/usr/share/gdb" "$root/usr/share/apport"
