#!/bin/sh
# A cluster as guides to kubeadm have it, without muster: programs and units where packages put them, containerd of a package, etcd as
# static pods (an image made here of the bundle's programs), several control planes where that is asked for, and flannel's own manifest.
#
#   by-kubeadm.sh prepare BUNDLE FOLDER          unpacks the bundle
#   by-kubeadm.sh FOLDER PLANES NODE...          in the lab's network: so many of these machines are control planes
set -eu
# shellcheck source=scripts/without-muster.sh
. "$(dirname "$0")/../../scripts/without-muster.sh"

kube=${KUBE_VERSION:-1.37.2}
case $kube in 1.36.*) etcd=3.6.14 ;; *) etcd=3.7.3 ;; esac

# An image with etcd's programs, in the form of `docker save`.
etcd_image() {
  work=$1/etcd-image programs=$1/bin
  mkdir -p "$work/root/usr/local/bin"
  cp "$programs/etcd" "$programs/etcdctl" "$programs/etcdutl" "$work/root/usr/local/bin/"
  tar -C "$work/root" --owner 0 --group 0 -cf "$work/layer.tar" usr
  digest=$(sha256sum "$work/layer.tar")
  echo '{"architecture":"'"$(dpkg --print-architecture)"'","os":"linux","config":{"Env":["PATH=/usr/local/bin:/usr/bin:/bin"]},"rootfs":{"type":"layers","diff_ids":["sha256:'"${digest%% *}"'"]}}' \
    >"$work/config.json"
  echo '[{"Config":"config.json","RepoTags":["registry.k8s.io/etcd:'$etcd'-0"],"Layers":["layer.tar"]}]' >"$work/manifest.json"
  tar -C "$work" -cf "$1/etcd.tar" manifest.json config.json layer.tar
  rm -rf "$work" "$programs/etcd" "$programs/etcdctl" "$programs/etcdutl"
}

if [ "$1" = prepare ]; then
  unpack "$2" "$3" "$kube" "$etcd"
  etcd_image "$3"
  exit
fi

files=$1 planes=$2 first=$3; shift 2

install() {
  tar -C "$files" -c . | on "$1" 'mkdir -p /opt/hand && tar -x -C /opt/hand'
  on "$1" sh -es <<'END'
cd /opt/hand
mkdir -p /opt/cni/bin /etc/cni/net.d /etc/containerd /usr/lib/systemd/system/kubelet.service.d
mv bin/* /usr/bin/; mv cni/* /opt/cni/bin/
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
cat >/usr/lib/systemd/system/containerd.service <<'T'
[Service]
ExecStart=/usr/bin/containerd
Type=notify
Delegate=yes
KillMode=process
Restart=always
[Install]
WantedBy=multi-user.target
T
# As the packages of pkgs.k8s.io have them.
cat >/usr/lib/systemd/system/kubelet.service <<'T'
[Service]
ExecStart=/usr/bin/kubelet
Restart=always
StartLimitInterval=0
RestartSec=10
[Install]
WantedBy=multi-user.target
T
cat >/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf <<'T'
[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
T
# What flannel's manifest copies there by containers of its own.
echo '{"name":"cbr0","cniVersion":"0.3.1","plugins":[{"type":"flannel","delegate":{"hairpinMode":true,"isDefaultGateway":true}},{"type":"portmap","capabilities":{"portMappings":true}}]}' \
  >/etc/cni/net.d/10-flannel.conflist
sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1
systemctl daemon-reload
systemctl enable -q --now containerd
systemctl enable -q kubelet
ctr -n k8s.io images import --local images.tar >/dev/null
ctr -n k8s.io images import --local etcd.tar >/dev/null
rm -rf /opt/hand
END
}
pids=
for host; do install "$host" & pids="$pids $!"; done
for pid in $pids; do wait "$pid"; done

on "$first" sh -es <<END
cat >/root/kubeadm.yaml <<'T'
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {advertiseAddress: $first}
nodeRegistration: {criSocket: unix:///run/containerd/containerd.sock}
timeouts: {kubernetesAPICall: 300s, controlPlaneComponentHealthCheck: 300s}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: v$kube
controlPlaneEndpoint: $first:6443
networking: {podSubnet: 10.244.0.0/16, serviceSubnet: 10.233.0.0/18}
etcd: {local: {imageTag: $etcd-0}}
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: systemd
failCgroupV1: false
evictionHard: {memory.available: 100Mi, nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%"}
imageGCHighThresholdPercent: 100
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
oomScoreAdj: 0
conntrack: {maxPerCore: 0, min: 0}
T
kubeadm init --config /root/kubeadm.yaml --upload-certs --ignore-preflight-errors=all >/run/kubeadm.log 2>&1 || { tail -20 /run/kubeadm.log >&2; exit 1; }
END
certificates=$(on "$first" 'kubeadm init phase upload-certs --upload-certs 2>/dev/null | tail -n 1')
join=$(on "$first" kubeadm token create --print-join-command)
number=0 pids=
for host; do
  number=$((number + 1))
  [ "$number" != 1 ] || continue
  if [ "$number" -le "$planes" ]; then
    # shellcheck disable=SC2029 # The command comes from this side.
    on "$host" "$join --control-plane --certificate-key $certificates --ignore-preflight-errors=all >/run/kubeadm.log 2>&1 || { tail -20 /run/kubeadm.log >&2; exit 1; }"
  else
    # shellcheck disable=SC2029
    on "$host" "$join --ignore-preflight-errors=all >/run/kubeadm.log 2>&1" & pids="$pids $!"
  fi
done
on "$first" kubectl --kubeconfig /etc/kubernetes/admin.conf apply -f - >/dev/null <<'END'
apiVersion: v1
kind: Namespace
metadata:
  name: kube-flannel
  labels: {k8s-app: flannel, pod-security.kubernetes.io/enforce: privileged}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: flannel, namespace: kube-flannel, labels: {k8s-app: flannel}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: flannel, labels: {k8s-app: flannel}}
rules:
  - {apiGroups: [""], resources: [pods], verbs: [get]}
  - {apiGroups: [""], resources: [nodes], verbs: [get, list, watch]}
  - {apiGroups: [""], resources: [nodes/status], verbs: [patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: flannel, labels: {k8s-app: flannel}}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: flannel}
subjects: [{kind: ServiceAccount, name: flannel, namespace: kube-flannel}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: kube-flannel-cfg, namespace: kube-flannel, labels: {tier: node, k8s-app: flannel, app: flannel}}
data:
  cni-conf.json: |
    {"name": "cbr0", "cniVersion": "0.3.1", "plugins": []}
  net-conf.json: |
    {"Network": "10.244.0.0/16", "EnableNFTables": false, "Backend": {"Type": "vxlan"}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: kube-flannel-ds, namespace: kube-flannel, labels: {tier: node, app: flannel, k8s-app: flannel}}
spec:
  selector: {matchLabels: {app: flannel, k8s-app: flannel}}
  template:
    metadata: {labels: {tier: node, app: flannel, k8s-app: flannel}}
    spec:
      hostNetwork: true
      priorityClassName: system-node-critical
      serviceAccountName: flannel
      tolerations: [{operator: Exists, effect: NoSchedule}]
      containers:
        - name: kube-flannel
          image: docker.io/flannel/flannel:v0.28.4
          imagePullPolicy: IfNotPresent
          command: [/opt/bin/flanneld]
          args: [--ip-masq, --kube-subnet-mgr]
          env:
            - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
            - {name: POD_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
          securityContext: {capabilities: {add: [NET_ADMIN, NET_RAW]}}
          volumeMounts:
            - {name: run, mountPath: /run/flannel}
            - {name: flannel-cfg, mountPath: /etc/kube-flannel/}
            - {name: xtables-lock, mountPath: /run/xtables.lock}
      volumes:
        - {name: run, hostPath: {path: /run/flannel}}
        - {name: flannel-cfg, configMap: {name: kube-flannel-cfg}}
        - {name: xtables-lock, hostPath: {path: /run/xtables.lock, type: FileOrCreate}}
END
for pid in $pids; do wait "$pid"; done
with_pods "$first" $#
