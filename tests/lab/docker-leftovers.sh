# What Docker leaves on a machine that kubespray has brought from Docker to containerd, or somebody uses beside it. Docker itself is not to
# be had here: sleep(1) stands in for its daemon; its units, files, bridge and packet filter rules are as it has them.
mkdir -p /var/lib/docker/overlay2 /etc/docker
echo '{"log-opts": {"max-size": "50m"}}' >/etc/docker/daemon.json
cp /bin/sleep /usr/local/bin/dockerd
cat >/etc/systemd/system/docker.service <<'T'
[Unit]
Description=Docker Application Container Engine
After=network.target containerd.service
BindsTo=containerd.service
[Service]
ExecStart=/usr/local/bin/dockerd infinity
Restart=always
KillMode=process
[Install]
WantedBy=multi-user.target
T
printf '[Service]\nExecStart=/usr/local/bin/cri-dockerd --network-plugin=cni\n' >/etc/systemd/system/cri-dockerd.service
systemctl daemon-reload
systemctl enable -q --now docker
ip link add docker0 type bridge
ip addr add 172.17.0.1/16 dev docker0
ip link set docker0 up
iptables-restore --noflush <<'T'
*filter
:FORWARD DROP
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-USER -j RETURN
COMMIT
*nat
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
COMMIT
T
# What a package of Docker's puts in the place of the configuration with which containerd runs, and without which no kubelet could use it.
echo 'disabled_plugins = ["cri"]' >/etc/containerd/config.toml
# What kubeadm has noted when the node joined; kubespray's kubelet does not read it.
echo 'KUBELET_KUBEADM_ARGS="--container-runtime-endpoint=unix:///var/run/cri-dockerd.sock --pod-infra-container-image=registry.k8s.io/pause:3.9"' \
  >/var/lib/kubelet/kubeadm-flags.env
echo 'containerRuntimeEndpoint: "unix:///var/run/cri-dockerd.sock"' >/var/lib/kubelet/instance-config.yaml
