# A cluster of one machine as a guide to kubeadm has it, without muster: containerd with Debian's way of units, etcd without TLS,
# kubeadm init, a drop-in of the kubelet and a configuration of the network. $1: the machine's address.
set -e
mkdir -p /etc/containerd /etc/cni/net.d /etc/systemd/system/kubelet.service.d
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
printf '[Service]\nExecStart=/usr/local/bin/kubelet $KUBELET_KUBEADM_ARGS\nEnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env\nRestart=always\n[Install]\nWantedBy=multi-user.target\n' >/etc/systemd/system/kubelet.service
printf '[Service]\nExecStart=\nExecStart=/usr/local/bin/kubelet --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf --config=/var/lib/kubelet/config.yaml $KUBELET_KUBEADM_ARGS\n' >/etc/systemd/system/kubelet.service.d/10-kubeadm.conf
echo '{"name":"cbr0","cniVersion":"0.3.1","plugins":[{"type":"bridge","bridge":"cni0","isGateway":true,"ipMasq":true,"ipam":{"type":"host-local","subnet":"10.233.64.0/24"}},{"type":"portmap","capabilities":{"portMappings":true}}]}' >/etc/cni/net.d/10-bridge.conflist
sysctl -qw net.ipv4.ip_forward=1
systemctl daemon-reload
systemctl enable -q --now containerd kubelet
systemd-run -q --unit etcd -p Type=notify etcd --data-dir /var/lib/etcd \
  --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379
cat >/root/kubeadm.yaml <<T
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {advertiseAddress: $1}
timeouts: {kubernetesAPICall: 300s, controlPlaneComponentHealthCheck: 300s}
nodeRegistration: {criSocket: unix:///run/containerd/containerd.sock, taints: []}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: $(kubeadm version -o short)
networking: {podSubnet: 10.233.64.0/18}
etcd: {external: {endpoints: ["http://127.0.0.1:2379"]}}
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: systemd
failCgroupV1: false
evictionHard: {nodefs.available: "0%", imagefs.available: "0%"}
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
oomScoreAdj: 0
conntrack: {maxPerCore: 0, min: 0}
T
kubeadm init --config /root/kubeadm.yaml --ignore-preflight-errors=all >/run/kubeadm.log 2>&1 || { tail -20 /run/kubeadm.log; exit 1; }
export KUBECONFIG=/etc/kubernetes/admin.conf
for _ in $(seq 90); do
  [ "$(kubectl -n kube-system get pods -l k8s-app=kube-dns --no-headers | grep -c ' Running ')" = 2 ] && exit 0
  sleep 1
done
kubectl get pods -A
exit 1
