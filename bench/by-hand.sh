#!/bin/sh
# The least that can be done by hand to make three bare lab machines a cluster: copy everything everywhere, containerd,
# `kubeadm init`, `kubeadm join` in parallel, flannel. No checks, no TLS for etcd, no restarts on change, no second run.
# It is what `setup-cluster` is compared with. Run inside the lab's network:
#
#   bench/by-hand.sh prepare BUNDLE FOLDER      unpacks the bundle, not timed: one has the files ready
#   muster lab exec -- bench/by-hand.sh FOLDER NODE1 NODE2 NODE3
set -eu
# shellcheck source=scripts/without-muster.sh
. "$(dirname "$0")/../scripts/without-muster.sh"

kube=${KUBE_VERSION:-1.37.2}

if [ "$1" = prepare ]; then
  unpack "$2" "$3" "$kube"
  cp "$(dirname "$0")/flannel.yaml" "$3/"
  exit
fi

files=$1 first=$2; shift 2

# Copy, unpack, start containerd, import: all machines at once.
install() {
  tar -C "$files" -c . | on "$1" 'mkdir -p /opt/hand && tar -x -C /opt/hand'
  on "$1" sh -es <<'END'
cd /opt/hand
mkdir -p /opt/cni/bin /etc/cni/net.d /etc/containerd
mv bin/* /usr/local/bin/; mv cni/* /opt/cni/bin/
cat >/etc/containerd/config.toml <<'T'
version = 3
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "registry.k8s.io/pause:3.10.2"
[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
SystemdCgroup = true
T
cat >/etc/systemd/system/containerd.service <<'T'
[Service]
ExecStart=/usr/local/bin/containerd
Type=notify
Delegate=yes
KillMode=process
[Install]
WantedBy=multi-user.target
T
cat >/etc/systemd/system/kubelet.service <<'T'
[Service]
ExecStart=/usr/local/bin/kubelet --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf --config=/var/lib/kubelet/config.yaml $KUBELET_KUBEADM_ARGS
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
Restart=always
[Install]
WantedBy=multi-user.target
T
cat >/etc/cni/net.d/10-flannel.conflist <<'T'
{"name":"cbr0","cniVersion":"0.3.1","plugins":[{"type":"flannel","delegate":{"hairpinMode":true,"isDefaultGateway":true}},{"type":"portmap","capabilities":{"portMappings":true}}]}
T
sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1
systemctl enable -q --now containerd
ctr -n k8s.io images import --local /opt/hand/images.tar >/dev/null
END
}
pids=
for host in "$first" "$@"; do install "$host" & pids="$pids $!"; done
for pid in $pids; do wait "$pid"; done

on "$first" sh -es <<END
systemd-run -q --unit etcd -p Type=notify etcd --data-dir /var/lib/etcd --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379
cat >/root/kubeadm.yaml <<'T'
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {advertiseAddress: $first}
nodeRegistration: {criSocket: unix:///run/containerd/containerd.sock, taints: []}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: v$kube
networking: {podSubnet: 10.233.64.0/18, serviceSubnet: 10.233.0.0/18}
etcd: {external: {endpoints: ["http://127.0.0.1:2379"]}}
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: systemd
failCgroupV1: false
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
oomScoreAdj: 0
conntrack: {maxPerCore: 0, min: 0}
T
kubeadm init --config /root/kubeadm.yaml --ignore-preflight-errors=all >/dev/null 2>&1
END
join=$(on "$first" kubeadm token create --print-join-command)
pids=
for host; do
  # shellcheck disable=SC2029 # The command comes from this side.
  on "$host" "$join --ignore-preflight-errors=all >/dev/null 2>&1" & pids="$pids $!"
done
on "$first" kubectl --kubeconfig /etc/kubernetes/admin.conf apply -f - <"$files/flannel.yaml" >/dev/null
for pid in $pids; do wait "$pid"; done
on "$first" sh -es <<'END'
export KUBECONFIG=/etc/kubernetes/admin.conf
until [ "$(kubectl get nodes --no-headers | grep -c ' Ready')" = 3 ]; do sleep 0.3; done
until kubectl get pods -A --no-headers | awk '{ split($3, r, "/"); n++; if (r[1] != r[2]) w++ } END { exit w > 0 || n < 9 }'; do sleep 0.3; done
END
