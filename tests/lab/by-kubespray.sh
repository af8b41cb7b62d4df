#!/bin/sh
# A cluster laid out as kubespray (v2.28 to v2.31, with its defaults and flannel) lays it out, without kubespray and without muster:
# etcd as units with certificates of openssl's, kubelets with a unit and a configuration of their own, containerd in /usr/local/bin,
# a control plane by kubeadm, and objects with kubespray's names and labels. Three of its images are not to be had here, and others
# stand in for them: haproxy for nginx in nginx-proxy, CoreDNS for node-cache in nodelocaldns, and of the autoscaler there is only the
# deployment, without pods.
#
#   by-kubespray.sh prepare BUNDLE FOLDER                unpacks the bundle
#   by-kubespray.sh FOLDER PLANES MEMBERS NODE...        in the lab's network: so many of these machines are control planes, and so
#                                                        many are members of etcd
set -eu
# shellcheck source=scripts/without-muster.sh
. "$(dirname "$0")/../../scripts/without-muster.sh"

kube=${KUBE_VERSION:-1.37.2}
case $kube in 1.36.*) etcd=3.6.14 ;; *) etcd=3.7.3 ;; esac

if [ "$1" = prepare ]; then
  unpack "$2" "$3" "$kube" "$etcd"
  exit
fi

files=$1 planes=$2 members=$3 first=$4; shift 3

# etcd's authority, and certificates of each machine.
pki=$files/etcd-pki
rm -rf "$pki"; mkdir -p "$pki"
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$pki/ca-key.pem" -days 36500 -out "$pki/ca.pem" -subj /CN=etcd-ca 2>/dev/null
certificate() {
  printf 'basicConstraints=CA:FALSE\nkeyUsage=nonRepudiation,digitalSignature,keyEncipherment\nextendedKeyUsage=clientAuth,serverAuth\nsubjectAltName=DNS:localhost,IP:127.0.0.1%s\n' "$2" >"$pki/ext"
  openssl req -newkey rsa:2048 -nodes -keyout "$pki/$1-key.pem" -out "$pki/csr" -subj "/CN=etcd-$1" 2>/dev/null
  openssl x509 -req -in "$pki/csr" -CA "$pki/ca.pem" -CAkey "$pki/ca-key.pem" -CAcreateserial -days 36500 -extfile "$pki/ext" -out "$pki/$1.pem" 2>/dev/null
}
number=0 cluster='' endpoints='' endpoints_sep='' names='' apis='' sans=''
for host; do
  number=$((number + 1)) names="$names,IP:$host,DNS:node$number"
  [ "$number" -gt "$planes" ] || apis="$apis $host" sans="$sans, node$number, $host"
  [ "$number" -gt "$members" ] || {
    cluster=$cluster${cluster:+,}etcd$number=https://$host:2380
    endpoints="$endpoints$endpoints_sep\"https://$host:2379\""
    endpoints_sep=', '
  }
done
number=0
for host; do
  number=$((number + 1))
  [ "$number" -gt "$members" ] || { certificate "member-node$number" "$names"; certificate "admin-node$number" "$names"; }
  certificate "node-node$number" "$names"
done

install() {
  address=$1 number=$2
  tar -C "$files" -c . | on "$address" 'mkdir -p /opt/hand && tar -x -C /opt/hand'
  on "$address" sh -es "$address" "$number" "$planes" "$members" "$cluster" "$apis" <<'END'
address=$1 number=$2 planes=$3 members=$4 cluster=$5 name=$(hostname); shift 5
cd /opt/hand
mkdir -p /opt/cni/bin /etc/cni/net.d /etc/containerd /etc/kubernetes/manifests /etc/kubernetes/ssl
ln -s ssl /etc/kubernetes/pki
cp bin/* /usr/local/bin/; mv cni/* /opt/cni/bin/
cat >/etc/containerd/config.toml <<'T'
version = 3

root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0

[grpc]
  max_recv_message_size = 16777216
  max_send_message_size = 16777216

[debug]
  address = ""
  level = "info"
  format = ""
  uid = 0
  gid = 0

[metrics]
  address = ""
  grpc_histogram = false

[plugins]
  [plugins."io.containerd.cri.v1.runtime"]
    max_container_log_line_size = 16384
    enable_unprivileged_ports = false
    enable_unprivileged_icmp = false
    enable_selinux = false
    disable_apparmor = false
    tolerate_missing_hugetlb_controller = true
    disable_hugetlb_controller = true
    restrict_oom_score_adj = true

   [plugins."io.containerd.cri.v1.runtime".containerd]
     default_runtime_name = "runc"
     [plugins."io.containerd.cri.v1.runtime".containerd.runtimes]
       [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
         runtime_type = "io.containerd.runc.v2"
         base_runtime_spec = "/etc/containerd/cri-base.json"

         [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
           Root = ""
           SystemdCgroup = true
           BinaryName = "/usr/local/bin/runc"

  [plugins."io.containerd.cri.v1.images"]
    snapshotter = "overlayfs"
    image_pull_progress_timeout = "5m"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "registry.k8s.io/pause:3.10.2"
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = "/etc/containerd/certs.d"

  [plugins."io.containerd.nri.v1.nri"]
    disable = true
T
# kubespray's number, where the machine may have so many.
files=$(ulimit -Hn)
[ "$files" != unlimited ] && [ "$files" -le 65535 ] || files=65535
ctr oci spec | sed "s/\"hard\": 1024/\"hard\": $files/; s/\"soft\": 1024/\"soft\": $files/" >/etc/containerd/cri-base.json
cat >/etc/systemd/system/containerd.service <<'T'
[Unit]
Description=containerd container runtime
After=network.target local-fs.target dbus.service
[Service]
ExecStart=/usr/local/bin/containerd
Type=notify
Delegate=yes
KillMode=process
Restart=always
RestartSec=5
LimitNPROC=infinity
LimitCORE=infinity
LimitNOFILE=1048576
LimitMEMLOCK=infinity
TasksMax=infinity
[Install]
WantedBy=multi-user.target
T
cat >/etc/systemd/system/kubelet.service <<'T'
[Unit]
Description=Kubernetes Kubelet Server
After=containerd.service
Wants=containerd.service
[Service]
EnvironmentFile=-/etc/kubernetes/kubelet.env
ExecStart=/usr/local/bin/kubelet \
		$KUBE_LOG_LEVEL \
		$KUBELET_ADDRESS \
		$KUBELET_HOSTNAME \
		$KUBELET_ARGS
Restart=always
RestartSec=10s
[Install]
WantedBy=multi-user.target
T
cat >/etc/kubernetes/kubelet.env <<T
KUBE_LOG_LEVEL="--v=2"
KUBELET_ADDRESS="--node-ip=$address"
KUBELET_HOSTNAME="--hostname-override=$name"
KUBELET_ARGS="--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --config=/etc/kubernetes/kubelet-config.yaml --kubeconfig=/etc/kubernetes/kubelet.conf --runtime-cgroups=/system.slice/containerd.service"
T
cat >/etc/kubernetes/kubelet-config.yaml <<T
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
nodeStatusUpdateFrequency: "10s"
failSwapOn: true
authentication:
  anonymous:
    enabled: false
  webhook:
    enabled: true
  x509:
    clientCAFile: /etc/kubernetes/ssl/ca.crt
authorization:
  mode: Webhook
failCgroupV1: false
staticPodPath: /etc/kubernetes/manifests
cgroupDriver: systemd
containerLogMaxFiles: 5
containerLogMaxSize: 10Mi
containerRuntimeEndpoint : unix:///var/run/containerd/containerd.sock
maxPods: 110
podPidsLimit: -1
address: "$address"
readOnlyPort: 0
healthzPort: 10248
healthzBindAddress: "127.0.0.1"
kubeletCgroups: /system.slice/kubelet.service
clusterDomain: cluster.local
rotateCertificates: true
clusterDNS:
- 169.254.25.10
kubeReserved:
  cpu: "100m"
  memory: "256Mi"
  ephemeral-storage: "500Mi"
  pid: "1000"
evictionHard: {memory.available: 100Mi, nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%"}
imageGCHighThresholdPercent: 100
resolvConf: "/etc/resolv.conf"
eventRecordQPS: 50
shutdownGracePeriod: 60s
shutdownGracePeriodCriticalPods: 20s
maxParallelImagePulls: 1
T
cat >/etc/kubernetes/kubescheduler-config.yaml <<'T'
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
clientConnection: {kubeconfig: /etc/kubernetes/scheduler.conf}
leaderElection: {leaseDuration: 15s, renewDeadline: 10s}
T
# What flannel's containers copy there.
echo '{"name":"cbr0","cniVersion":"0.3.1","plugins":[{"type":"flannel","delegate":{"hairpinMode":true,"isDefaultGateway":true}},{"type":"portmap","capabilities":{"portMappings":true}}]}' \
  >/etc/cni/net.d/10-flannel.conflist
# What node-cache does.
ip link add nodelocaldns type dummy || ip link add nodelocaldns type bridge
ip addr add 169.254.25.10/32 dev nodelocaldns
ip link set nodelocaldns up
mkdir -p -m 700 /etc/ssl/etcd/ssl
cp etcd-pki/ca.pem "etcd-pki/node-$name.pem" "etcd-pki/node-$name-key.pem" /etc/ssl/etcd/ssl/
[ "$number" -gt "$planes" ] || cp etcd-pki/node-*.pem /etc/ssl/etcd/ssl/
if [ "$number" -le "$members" ]; then
  cp etcd-pki/ca-key.pem etcd-pki/member-*.pem etcd-pki/admin-*.pem /etc/ssl/etcd/ssl/
  cat >/etc/etcd.env <<T
# Environment file for etcd
ETCD_DATA_DIR=/var/lib/etcd
ETCD_ADVERTISE_CLIENT_URLS=https://$address:2379
ETCD_INITIAL_ADVERTISE_PEER_URLS=https://$address:2380
ETCD_INITIAL_CLUSTER_STATE=new

ETCD_METRICS=basic
ETCD_LISTEN_CLIENT_URLS=https://$address:2379,https://127.0.0.1:2379
ETCD_ELECTION_TIMEOUT=5000
ETCD_HEARTBEAT_INTERVAL=250
ETCD_INITIAL_CLUSTER_TOKEN=k8s_etcd
ETCD_LISTEN_PEER_URLS=https://$address:2380
ETCD_NAME=etcd$number
ETCD_INITIAL_CLUSTER=$cluster
ETCD_AUTO_COMPACTION_RETENTION=8
ETCD_SNAPSHOT_COUNT=100000
ETCD_QUOTA_BACKEND_BYTES=2147483648
ETCD_MAX_REQUEST_BYTES=1572864
ETCD_LOG_LEVEL=info
ETCD_MAX_SNAPSHOTS=5
ETCD_MAX_WALS=5
# Until v2.30.
ETCD_ENABLE_V2=true
ETCD_EXPERIMENTAL_INITIAL_CORRUPT_CHECK=True

# TLS settings
ETCD_TRUSTED_CA_FILE=/etc/ssl/etcd/ssl/ca.pem
ETCD_CERT_FILE=/etc/ssl/etcd/ssl/member-$name.pem
ETCD_KEY_FILE=/etc/ssl/etcd/ssl/member-$name-key.pem
ETCD_CLIENT_CERT_AUTH=true

ETCD_PEER_TRUSTED_CA_FILE=/etc/ssl/etcd/ssl/ca.pem
ETCD_PEER_CERT_FILE=/etc/ssl/etcd/ssl/member-$name.pem
ETCD_PEER_KEY_FILE=/etc/ssl/etcd/ssl/member-$name-key.pem
ETCD_PEER_CLIENT_CERT_AUTH=true

# CLI settings
ETCDCTL_ENDPOINTS=https://127.0.0.1:2379
ETCDCTL_CACERT=/etc/ssl/etcd/ssl/ca.pem
ETCDCTL_KEY=/etc/ssl/etcd/ssl/admin-$name-key.pem
ETCDCTL_CERT=/etc/ssl/etcd/ssl/admin-$name.pem
T
  cat >/etc/systemd/system/etcd.service <<'T'
[Unit]
Description=etcd
After=network.target
[Service]
Type=notify
User=root
EnvironmentFile=/etc/etcd.env
ExecStart=/usr/local/bin/etcd
NotifyAccess=all
Restart=always
RestartSec=10s
LimitNOFILE=40000
[Install]
WantedBy=multi-user.target
T
else
  rm -f /usr/local/bin/etcd /usr/local/bin/etcdctl /usr/local/bin/etcdutl
fi
if [ "$number" -gt "$planes" ]; then
  mkdir -p -m 700 /etc/nginx
  # haproxy, where kubespray has nginx.
  cat >/etc/nginx/haproxy.cfg <<T
defaults
  mode tcp
  timeout connect 1s
  timeout client 10m
  timeout server 10m
frontend api
  bind 127.0.0.1:6443
  default_backend planes
backend planes
T
  for api; do echo "  server $api $api:6443 check inter 1s" >>/etc/nginx/haproxy.cfg; done
  cat >/etc/kubernetes/manifests/nginx-proxy.yml <<'T'
apiVersion: v1
kind: Pod
metadata:
  name: nginx-proxy
  namespace: kube-system
  labels: {addonmanager.kubernetes.io/mode: Reconcile, k8s-app: kube-nginx}
spec:
  hostNetwork: true
  dnsPolicy: ClusterFirstWithHostNet
  priorityClassName: system-node-critical
  containers:
    - name: nginx-proxy
      image: docker.io/library/haproxy:3.2.4-alpine
      imagePullPolicy: IfNotPresent
      command: [haproxy, -f, /etc/nginx/haproxy.cfg]
      securityContext: {runAsUser: 0}
      volumeMounts: [{mountPath: /etc/nginx, name: etc-nginx, readOnly: true}]
  volumes: [{name: etc-nginx, hostPath: {path: /etc/nginx}}]
T
fi
sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1
systemctl daemon-reload
systemctl enable -q --now containerd
systemctl enable -q kubelet
[ "$number" -gt "$members" ] || systemctl enable -q --now --no-block etcd
ctr -n k8s.io images import --local images.tar >/dev/null
rm -rf /opt/hand
END
}
pids='' number=0
for host; do number=$((number + 1)); install "$host" "$number" & pids="$pids $!"; done
for pid in $pids; do wait "$pid"; done

on "$first" sh -es <<END
cat >/etc/kubernetes/kubeadm-config.yaml <<'T'
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {advertiseAddress: $first, bindPort: 6443}
nodeRegistration:
  name: node1
  criSocket: unix:///var/run/containerd/containerd.sock
  taints: [{effect: NoSchedule, key: node-role.kubernetes.io/control-plane}]
timeouts: {kubernetesAPICall: 300s, controlPlaneComponentHealthCheck: 300s}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
clusterName: cluster.local
etcd:
  external:
    endpoints: [$endpoints]
    caFile: /etc/ssl/etcd/ssl/ca.pem
    certFile: /etc/ssl/etcd/ssl/node-node1.pem
    keyFile: /etc/ssl/etcd/ssl/node-node1-key.pem
dns: {disabled: true}
networking: {dnsDomain: cluster.local, serviceSubnet: 10.233.0.0/18, podSubnet: 10.233.64.0/18}
kubernetesVersion: v$kube
controlPlaneEndpoint: "$first:6443"
certificatesDir: /etc/kubernetes/ssl
imageRepository: registry.k8s.io
apiServer:
  extraArgs:
    - {name: etcd-compaction-interval, value: "5m0s"}
    - {name: default-not-ready-toleration-seconds, value: "300"}
    - {name: default-unreachable-toleration-seconds, value: "300"}
    - {name: anonymous-auth, value: "True"}
    - {name: authorization-mode, value: "Node,RBAC"}
    - {name: bind-address, value: "::"}
    - {name: apiserver-count, value: "$planes"}
    - {name: endpoint-reconciler-type, value: lease}
    - {name: service-node-port-range, value: "30000-32767"}
    - {name: service-cluster-ip-range, value: "10.233.0.0/18"}
    - {name: kubelet-preferred-address-types, value: "InternalDNS,InternalIP,Hostname,ExternalDNS,ExternalIP"}
    - {name: profiling, value: "False"}
    - {name: request-timeout, value: "1m0s"}
    - {name: enable-aggregator-routing, value: "False"}
    - {name: service-account-lookup, value: "True"}
    - {name: storage-backend, value: etcd3}
    - {name: allow-privileged, value: "true"}
    - {name: event-ttl, value: "1h0m0s"}
  certSANs: [kubernetes, localhost, 127.0.0.1, 10.233.0.1$sans, lb-apiserver.kubernetes.local, "::1"]
controllerManager:
  extraArgs:
    - {name: node-monitor-grace-period, value: 40s}
    - {name: node-monitor-period, value: 5s}
    - {name: cluster-cidr, value: "10.233.64.0/18"}
    - {name: service-cluster-ip-range, value: "10.233.0.0/18"}
    - {name: node-cidr-mask-size-ipv4, value: "24"}
    - {name: profiling, value: "False"}
    - {name: terminated-pod-gc-threshold, value: "12500"}
    - {name: bind-address, value: "::"}
    - {name: leader-elect-lease-duration, value: 15s}
    - {name: leader-elect-renew-deadline, value: 10s}
    - {name: configure-cloud-routes, value: "false"}
scheduler:
  extraArgs:
    - {name: bind-address, value: "::"}
    - {name: config, value: /etc/kubernetes/kubescheduler-config.yaml}
    - {name: profiling, value: "False"}
  extraVolumes:
    - {name: kubescheduler-config, hostPath: /etc/kubernetes/kubescheduler-config.yaml, mountPath: /etc/kubernetes/kubescheduler-config.yaml, readOnly: true}
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
clusterCIDR: 10.233.64.0/18
oomScoreAdj: 0
conntrack: {maxPerCore: 0, min: 0}
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
clusterDNS: [169.254.25.10]
T
kubeadm init --config /etc/kubernetes/kubeadm-config.yaml --upload-certs --skip-phases=addon/coredns --ignore-preflight-errors=all \
  >/run/kubeadm.log 2>&1 || { tail -20 /run/kubeadm.log >&2; exit 1; }
END
certificates=$(on "$first" 'kubeadm init phase upload-certs --upload-certs 2>/dev/null --config /etc/kubernetes/kubeadm-config.yaml | tail -n 1')
join=$(on "$first" kubeadm token create --print-join-command)
number=0 pids=
for host; do
  number=$((number + 1))
  [ "$number" != 1 ] || continue
  if [ "$number" -le "$planes" ]; then
    # shellcheck disable=SC2029 # The command comes from this side.
    on "$host" "$join --control-plane --certificate-key $certificates --ignore-preflight-errors=all >/run/kubeadm.log 2>&1 || { tail -20 /run/kubeadm.log >&2; exit 1; }
      sed -i 's#server:.*#server: https://127.0.0.1:6443#' /etc/kubernetes/kubelet.conf && systemctl restart kubelet"
  else
    # shellcheck disable=SC2029
    on "$host" "{ $join --ignore-preflight-errors=all >/run/kubeadm.log 2>&1 || { tail -20 /run/kubeadm.log >&2; exit 1; }; } &&
      sed -i 's#server:.*#server: https://localhost:6443#' /etc/kubernetes/kubelet.conf && systemctl restart kubelet" & pids="$pids $!"
  fi
done
on "$first" sh -es <<'END'
export KUBECONFIG=/etc/kubernetes/admin.conf
kubectl -n kube-system get configmap kube-proxy -o yaml | sed 's#server:.*#server: https://127.0.0.1:6443#' | kubectl replace -f - >/dev/null
kubectl -n kube-system delete pod -l k8s-app=kube-proxy --force --grace-period=0 >/dev/null 2>&1
END
on "$first" kubectl --kubeconfig /etc/kubernetes/admin.conf apply -f - <"$(dirname "$0")/by-kubespray.yaml" >/dev/null
for pid in $pids; do wait "$pid"; done
with_pods "$first" $#
