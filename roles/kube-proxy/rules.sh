# What kube-proxy has in a machine's kernel, and whether it runs there; packet_filter.sh stands in front. Read-only.

# Its processes; not those of a cluster in containers on this machine.
proxies() {
  for path in $(grep -lsx kube-proxy /proc/[0-9]*/comm); do
    process=${path%/comm}
    if grep -qsE '^[0-9]+:[^:]*:/kubepods(\.slice)?/' "$process/cgroup"; then echo "${process#/proc/}"; fi
  done
}

# What takes its rules out of what iptables-save(8) has printed, in the form of iptables-restore(8): its own chains, whichever of
# iptables and ipvs it has worked with, and rules that lead to them. Other chains with KUBE are those of the kubelet and of kube-router.
removal_of_rules() {
  awk '
    function ours(chain) {
      if (chain ~ /^KUBE-(SVC|SVL|SEP|EXT|FW)-/) return 1
      if (chain ~ /^KUBE-((EXTERNAL-)?SERVICES|NODE-?PORTS?|POSTROUTING|MARK-MASQ|FORWARD|LOAD-BALANCER)$/) return 1
      return chain ~ /^KUBE-(PROXY-FIREWALL|PROXY-CANARY|SOURCE-RANGES-FIREWALL|IPVS-(OUT-)?FILTER)$/
    }
    /^\*/ { table = $0; rules = flush = chains = "" }
    /^:/ && ours(substr($1, 2)) {
      flush = flush "-F " substr($1, 2) "\n"
      chains = chains "-X " substr($1, 2) "\n"
    }
    /^-A / && !ours($2) && ours($NF) && $(NF - 1) == "-j" { rules = rules "-D" substr($0, 3) "\n" }
    /^COMMIT/ { if (rules flush != "") printf "%s\n%s%s%sCOMMIT\n", table, rules, flush, chains }'
}

# Its tables: the family, and the name.
tables() {
  command -v nft >/dev/null || return 0
  nft list tables 2>/dev/null | while read -r _ family table; do
    [ "$table" != kube-proxy ] || echo "$family $table"
  done
}

address_sets() {
  command -v ipset >/dev/null || return 0
  for set in $(ipset list -n 2>/dev/null); do
    case $set in
      KUBE-CLUSTER-IP | KUBE-LOOP-BACK | KUBE-EXTERNAL-IP* | KUBE-LOAD-BALANCER* | KUBE-NODE-PORT-*) echo "$set" ;;
      KUBE-HEALTH-CHECK-NODE-PORT | KUBE-IPVS-IPS | KUBE-6-*) echo "$set" ;;
    esac
  done
}

# A line for each.
left() {
  for process in $(proxies); do echo "process $process"; done
  for command in $(iptables_commands); do
    [ -z "$("$command-save" 2>/dev/null | removal_of_rules)" ] || echo "rules of $command"
  done
  tables | while read -r table; do echo "table of nft $table"; done
  for set in $(address_sets); do echo "set $set"; done
  [ ! -e /sys/class/net/kube-ipvs0 ] || echo 'interface kube-ipvs0'
}
