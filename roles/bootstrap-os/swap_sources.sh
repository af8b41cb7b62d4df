# Prints what switches swap on at the next boot, a line each: entries of /etc/fstab, units of systemd (those that its generators
# make for fstab, a partition table or zram, too), the generator for zram, and services that are known to do it. Not what is masked.
swap_sources() {
  masked() { [ "$(readlink "$1" 2>/dev/null)" = /dev/null ]; }
  if [ -r /etc/fstab ]; then
    while read -r device _ type _; do
      case $device in '#'*) continue ;; esac
      [ "$type" != swap ] || echo "/etc/fstab $device"
    done </etc/fstab
  fi
  for file in /etc/systemd/system/*.swap /run/systemd/generator/*.swap /run/systemd/generator.late/*.swap \
    /usr/lib/systemd/system/*.swap /lib/systemd/system/*.swap; do
    name=${file##*/}
    [ ! -e "$file" ] || masked "/etc/systemd/system/$name" || echo "unit $name"
  done
  generator=zram-generator
  if [ -e /usr/lib/systemd/system-generators/$generator ]; then
    masked /etc/systemd/system-generators/$generator || echo "generator $generator"
  fi
  for name in zramswap zram-config dphys-swapfile; do
    for folder in /etc/systemd/system /usr/lib/systemd/system /lib/systemd/system; do
      if [ -e "$folder/$name.service" ] && ! masked "/etc/systemd/system/$name.service"; then
        echo "unit $name.service"
        break
      fi
    done
  done
}
