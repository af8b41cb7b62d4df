# For tests: what other programs print on a machine that has a cluster, and things of its own.
ip() {
  cat <<'END'
default via 192.0.2.1 dev eth0
10.233.65.0/24 via 192.0.2.5 dev eth0
10.233.128.0/24 via 192.0.2.5 dev eth0
10.0.0.0/8 via 192.0.2.1 dev eth0
blackhole 10.233.66.64/26 proto bird
blackhole 172.31.0.0/16
192.0.2.0/24 dev eth0 scope link
END
}
nft() { printf 'table %s\n' 'ip kube-proxy' 'ip mine' 'inet calico' 'ip6 flannel-ipv6'; }
ipset() { printf '%s\n' KUBE-LOOP-BACK cali40s mine; }
systemctl() { case $2 in kubelet) echo activating ;; *) echo inactive ;; esac; }
