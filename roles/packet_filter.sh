# What several roles know of a machine's packet filter.

# Commands of iptables that have rules, without loading modules that nobody has loaded.
iptables_commands() {
  for command in iptables iptables-nft iptables-legacy ip6tables ip6tables-nft ip6tables-legacy; do
    case $command in
      iptables-legacy) [ -s /proc/net/ip_tables_names ] || continue ;;
      ip6tables-legacy) [ -s /proc/net/ip6_tables_names ] || continue ;;
    esac
    if command -v "$command-save" >/dev/null; then echo "$command"; fi
  done
}

# kube-proxy's virtual servers go: those at the addresses of its interface.
no_virtual_servers() {
  if [ -e /sys/class/net/kube-ipvs0 ] && command -v ipvsadm >/dev/null; then
    for address in $(ip -o -4 addr show dev kube-ipvs0 | awk '{ split($4, part, "/"); print part[1] }'); do
      ipvsadm-save -n | awk -v at="$address:" '$1 == "-A" && index($3, at) == 1 { print "-D " $2 " " $3 }' |
        while read -r words; do
          # shellcheck disable=SC2086 # words of a command
          ipvsadm $words
        done
    done
  fi
}
