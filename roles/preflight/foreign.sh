# What other clusters, packages and container engines have on a machine: what outranks ours, and what shares it with us. Read-only.
# $1: the name of our own network plugin's file in /etc/cni/net.d, or nothing where the plugin is not ours.
own=$1
say() { printf '%s\n' "$*"; }
# The first of these programs that is there.
first() { for program; do [ ! -x "$program" ] || { echo "$program"; break; }; done; }
# The first value of a key of JSON in a file.
value() { sed -n 's/.*"'"$1"'"[[:space:]]*:[[:space:]]*"\([^"]*\)".*/\1/p' "$2" | head -n 1; }

# Of these files containerd takes the one that comes first by its name.
if [ -n "$own" ]; then
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

for file in /etc/systemd/system/k3s.service /etc/systemd/system/k3s-agent.service; do
  name=${file##*/}
  [ ! -e "$file" ] || say cluster k3s "$file" "$(first "/usr/local/bin/${name%.service}-uninstall.sh")"
done
for unit in rke2-server rke2-agent; do
  for file in /etc/systemd/system/$unit.service /usr/local/lib/systemd/system/$unit.service /usr/lib/systemd/system/$unit.service; do
    [ -e "$file" ] || continue
    say cluster RKE2 "$file" "$(first /usr/local/bin/rke2-uninstall.sh /usr/bin/rke2-uninstall.sh /opt/rke2/bin/rke2-uninstall.sh)"
  done
done
for file in /etc/systemd/system/k0scontroller.service /etc/systemd/system/k0sworker.service; do
  [ ! -e "$file" ] || say cluster k0s "$file" "$(first /usr/local/bin/k0s /usr/bin/k0s)"
done
[ ! -e /snap/microk8s/current ] || say cluster MicroK8s /snap/microk8s/current snap

for file in /etc/kubernetes/manifests/*; do
  case $file in *.yaml | *.yml | *.json) [ ! -e "$file" ] || say static "$file" ;; esac
done
[ ! -r /run/flannel/subnet.env ] || sed -n 's/^FLANNEL_NETWORK=/flannel_network /p' /run/flannel/subnet.env
for file in /etc/default/kubelet /etc/sysconfig/kubelet; do
  if grep -qsE '^KUBELET_EXTRA_ARGS=["'\'']?[^"'\'']' "$file"; then say arguments "$file"; fi
done

for file in /usr/lib/systemd/system/containerd.service /lib/systemd/system/containerd.service; do
  [ ! -e "$file" ] || { say containerd "$file"; break; }
done
for folder in /run/containerd/io.containerd.runtime.v2.task/*; do
  name=${folder##*/}
  if [ -d "$folder" ] && [ "$name" != k8s.io ]; then
    set -- "$folder"/*
    [ ! -e "$1" ] || say containers "$name" $#
  fi
done
if [ -r /run/docker.pid ] && [ -d "/proc/$(cat /run/docker.pid)" ]; then say docker running; fi

# What another calico has left, ours takes over.
for path in /sys/class/net/*; do
  name=${path##*/}
  case $name in
    cali[0-9a-f]* | vxlan.calico) [ "$own" = 10-calico.conflist ] || say network "$name" ;;
    cilium_* | weave | kube-bridge) say network "$name" ;;
  esac
done
if command -v iptables-save >/dev/null; then
  iptables-save 2>/dev/null | sed -n 's/^:\(cali-\|WEAVE\|CILIUM_\).*/\1/p' | sort -u | while read -r chain; do
    [ "$own$chain" != 10-calico.conflistcali- ] || continue
    say network "chains $chain..."
  done
fi
exit 0
