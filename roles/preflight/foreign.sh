# What other clusters, packages and container engines have on a machine: what outranks ours, and what shares it with us. Read-only.
# $1: the name of our own network plugin's file in /etc/cni/net.d, or nothing where the plugin is not ours.
own=$1
# The first value of a key of JSON in a file.
value() { sed -n 's/.*"'"$1"'"[[:space:]]*:[[:space:]]*"\([^"]*\)".*/\1/p' "$2" | head -n 1; }

# Of these files containerd takes the one that comes first by its name.
if [ -n "$own" ]; then
  [ ! -e "/etc/cni/net.d/$own" ] || say own yes
  for file in /etc/cni/net.d/*.conf /etc/cni/net.d/*.conflist /etc/cni/net.d/*.json; do
    if [ -e "$file" ] && [ "${file##*/}" != "$own" ]; then say cni "$file" "$(value type "$file")"; fi
  done
fi

# Drop-ins that start another program than the unit says. Of those with one name the first in this order counts, as in
# systemd.unit(5). systemctl(1) tells what it has read; this is what it will read when our unit is there.
for unit in kubelet containerd etcd; do
  known=' '
  for folder in /etc/systemd/system /run/systemd/system /usr/local/lib/systemd/system /usr/lib/systemd/system /lib/systemd/system; do
    for file in "$folder/$unit.service.d"/*.conf; do
      [ -e "$file" ] || continue
      case $known in *" ${file##*/} "*) continue ;; esac
      known="$known${file##*/} "
      program=$(sed -n 's/^[[:space:]]*ExecStart[[:space:]]*=[[:space:]]*[-@:+!]*\([^[:space:]]\{1,\}\).*/\1/p' "$file" | tail -n 1)
      [ -z "$program" ] || say starts "$unit" "$file" "$program"
    done
  done
done

# A node shows every day that the rest is not in its way.
[ ! -e /etc/kubernetes/kubelet.conf ] || exit 0

clusters

for file in /etc/kubernetes/manifests/*; do
  case $file in *.yaml | *.yml | *.json) [ ! -e "$file" ] || say static "$file" ;; esac
done
[ ! -r /run/flannel/subnet.env ] || sed -n 's/^FLANNEL_NETWORK=/flannel_network /p' /run/flannel/subnet.env
for file in /etc/default/kubelet /etc/sysconfig/kubelet; do
  if grep -qsE '^KUBELET_EXTRA_ARGS=["'\'']?[^"'\'']' "$file"; then say arguments "$file"; fi
done

for file in /usr/local/lib/systemd/system/containerd.service /usr/lib/systemd/system/containerd.service /lib/systemd/system/containerd.service; do
  [ ! -e "$file" ] || { say containerd "$file"; break; }
done
for folder in /run/containerd/io.containerd.runtime.v2.task/*; do
  name=${folder##*/}
  if [ -d "$folder" ]; then
    set -- "$folder"/*
    [ ! -e "$1" ] || say containers "$name" $#
  fi
done
if [ -r /run/docker.pid ] && [ -d "/proc/$(cat /run/docker.pid)" ]; then say docker running; fi

# What another calico or cilium has left, ours takes over.
for path in /sys/class/net/*; do
  name=${path##*/}
  case $name in
    cali[0-9a-f]* | vxlan.calico) [ "$own" = 10-calico.conflist ] || say network "$name" ;;
    cilium_*) [ "$own" = 05-cilium.conflist ] || say network "$name" ;;
    weave | kube-bridge) say network "$name" ;;
  esac
done
if command -v iptables-save >/dev/null; then
  iptables-save 2>/dev/null | sed -n 's/^:\(cali-\|WEAVE\|CILIUM_\).*/\1/p' | sort -u | while read -r chain; do
    case $own$chain in 10-calico.conflistcali- | 05-cilium.conflistCILIUM_) continue ;; esac
    say network "chains $chain..."
  done
fi
exit 0
