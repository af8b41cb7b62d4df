# Prints what tells why a machine's part of a cluster is as it is: parts of text, each after a line with its name. Read-only. What
# does not answer holds up nothing for longer than 20 seconds.
part() { echo "=== muster part $1"; shift; timeout 20 "$@" 2>&1 | tail -n 3000 || :; }
file() { [ ! -r "$1" ] || part "${1#/}" cat "$1"; }

part system sh -c 'uname -a; cat /etc/os-release; uptime; date; echo; df -hT; df -i; echo; free -m; echo; swapon --show; echo
  mount | grep -E "cgroup|kubelet|containerd|etcd" | head -n 100; echo; sysctl net.ipv4.ip_forward net.bridge fs.inotify vm.overcommit_memory'
part network sh -c 'ip -br link; ip addr; ip route; ip -6 route; ss -lntup; cat /etc/hosts /etc/resolv.conf'
part packet-filter sh -c 'iptables-save -c | head -n 1500; nft list ruleset | head -n 500'
part units sh -c 'systemctl --no-pager list-units --failed; for unit in containerd kubelet etcd; do systemctl --no-pager --full status $unit; systemctl cat $unit; done'
for unit in containerd kubelet etcd; do
  part "journal-$unit" journalctl --quiet --no-pager --output=short-iso --lines=2000 --unit="$unit"
done
part journal-kernel journalctl --quiet --no-pager --output=short-iso --lines=300 --dmesg
part muster sh -c 'ls -lR /var/lib/muster | grep -v "^total" | head -n 500'
part containers ctr --namespace k8s.io containers list
part images ctr --namespace k8s.io images list --quiet
for path in /etc/containerd/config.toml /etc/etcd.env /etc/kubernetes/kubeadm-config.yaml /etc/kubernetes/manifests/*.yaml \
  /etc/kubernetes/api-balancer/haproxy.cfg /etc/kubernetes/api-vip/*/keepalived.conf /etc/cni/net.d/* /run/flannel/subnet.env /var/lib/kubelet/config.yaml \
  /var/lib/kubelet/kubeadm-flags.env; do
  file "$path"
done
for log in /var/log/pods/kube-system_*/*/*.log /var/log/pods/kube-flannel_*/*/*.log /var/log/pods/calico-*/*/*.log; do
  [ ! -r "$log" ] || part "pods/${log#/var/log/pods/}" tail -n 300 "$log"
done
[ -r /etc/kubernetes/admin.conf ] || return 0
export KUBECONFIG=/etc/kubernetes/admin.conf
set -- kubectl --request-timeout=15s
part cluster/ready "$@" get --raw '/readyz?verbose'
part cluster/version "$@" version
part cluster/objects "$@" get nodes,pods,services,endpointslices,deployments,daemonsets,statefulsets,jobs,poddisruptionbudgets,persistentvolumes,persistentvolumeclaims,storageclasses,namespaces -A -o wide
part cluster/events "$@" get events -A --sort-by=.lastTimestamp
part cluster/nodes "$@" describe nodes
part cluster/settings "$@" -n kube-system get configmaps -o yaml
part cluster/etcd etcdctl --endpoints=https://127.0.0.1:2379 --cacert=/etc/ssl/etcd/ssl/ca.pem --cert=/etc/ssl/etcd/ssl/client.pem \
  --key=/etc/ssl/etcd/ssl/client-key.pem --write-out=table endpoint status --cluster
