# Other ways to have Kubernetes on a machine. Read-only.
say() { printf '%s\n' "$*"; }
# The first of these programs that is there.
first() { for program; do [ ! -x "$program" ] || { echo "$program"; break; }; done; }
clusters() {
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
  # A kubelet that runs, of whatever made it a node; ours has its kubeconfig where kubeadm puts it.
  for file in /proc/[0-9]*/comm; do
    read -r name <"$file" && [ "$name" = kubelet ] || continue
    # One that has just ended has no arguments.
    case $(tr '\0' ' ' 2>/dev/null <"${file%comm}cmdline") in
      '' | *--kubeconfig=/etc/kubernetes/kubelet.conf*) ;;
      *) say cluster kubelet "${file%/comm}" ;;
    esac
  done 2>/dev/null
}
