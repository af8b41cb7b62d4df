#!/bin/sh
# Makes an installed machine (debian.sh) one that boots by itself: run once by mmdebstrap on the controller. $1 is the
# root directory, $2 the folder of the two scripts of its boots.
set -eu
root=$1 files=$2

printf '/dev/vda / ext4 errors=remount-ro 0 1\n' >"$root/etc/fstab"
{ printf '#!/bin/sh\n' && cat "$files/first_boot.sh" "$files/virtual_machine_boot.sh"; } >"$root/usr/local/sbin/lab-boot"
chmod 0755 "$root/usr/local/sbin/lab-boot"
cat >"$root/etc/systemd/system/lab-boot.service" <<'END'
[Unit]
Description=Name, address and keys of a lab machine
DefaultDependencies=no
After=systemd-remount-fs.service
Before=network-pre.target systemd-networkd.service ssh.service sysinit.target
Wants=network-pre.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/lab-boot

[Install]
WantedBy=sysinit.target
END
chroot "$root" systemctl enable lab-boot.service systemd-networkd.service ssh.service
