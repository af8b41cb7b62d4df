# For tests: what other programs print on a machine that has a cluster, and things of its own.
ip() {
  case "$*" in
    *' rule show')
      printf '%s\n' '9:	from all fwmark 0x200/0xf00 lookup 2004' '50:	from 192.0.2.7 lookup 7' '100:	from all lookup local' \
        '32766:	from all lookup main'
      return
      ;;
  esac
  case "$*" in
    '-6 route show root fd85::/112')
      printf '%s\n' 'fd85::1:100/120 via fd00::5 dev eth0 metric 1024' 'fd85::1:200/120 dev flannel-v6.1 metric 1024' \
        'blackhole fd85::1:300/122 dev lo metric 1024'
      return
      ;;
  esac
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
ipset() { printf '%s\n' KUBE-LOOP-BACK cali40s cilium_node_set_v4 mine; }
tc() {
  case "$*" in
    'filter show dev eth0 ingress')
      echo 'filter protocol all pref 1 bpf chain 0 handle 0x1 cil_from_netdev-eth0 direct-action not_in_hw id 7'
      echo 'filter protocol all pref 7 bpf chain 0 handle 0x1 mine direct-action not_in_hw id 8'
      ;;
  esac
}
systemctl() { case $2 in kubelet) echo activating ;; *) echo inactive ;; esac; }
