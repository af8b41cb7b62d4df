#!/bin/sh
# Says what goes into the initial RAM disk, before the kernel's package makes one: only what finds the disk, because
# unpacking it takes long where the processor is emulated. Run once by mmdebstrap on the controller; $1 is the root
# directory.
set -eu
root=$1

mkdir -p "$root/etc/initramfs-tools/conf.d" "$root/etc/initramfs-tools/hooks"
printf 'MODULES=list\nRESUME=none\n' >"$root/etc/initramfs-tools/conf.d/lab"
cat >"$root/etc/initramfs-tools/hooks/lab" <<'END'
#!/bin/sh
[ "${1-}" != prereqs ] || exit 0
. /usr/share/initramfs-tools/hook-functions
manual_add_modules virtio_pci virtio_blk ext4 crc32c_generic
END
chmod 0755 "$root/etc/initramfs-tools/hooks/lab"
