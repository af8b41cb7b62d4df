# What kube-router has in a machine's kernel, and whether it runs there. Read-only.

# Its processes; not those of a cluster in containers on this machine.
controllers() {
  for process in /proc/[0-9]*; do
    grep -qsE '^[0-9]+:[^:]*:/kubepods(\.slice)?/' "$process/cgroup" || continue
    [ "$(cat "$process/comm" 2>/dev/null || :)" != kube-router ] || echo "${process#/proc/}"
  done
}

# Commands of iptables that may have its rules, without loading modules that nobody has loaded.
filters() {
  for command in iptables iptables-nft iptables-legacy; do
    case $command in iptables-legacy) [ -s /proc/net/ip_tables_names ] || continue ;; esac
    if command -v "$command-save" >/dev/null; then echo "$command"; fi
  done
}

# What takes its rules out of what iptables-save(8) has printed, in the form of iptables-restore(8).
removal_of_rules() {
  awk '
    function ours(chain) { return chain ~ /^KUBE-(ROUTER-(INPUT|FORWARD|OUTPUT)$|POD-FW-|NWPLCY-)/ }
    /^:/ && ours(substr($1, 2)) {
      flush = flush "-F " substr($1, 2) "\n"
      chains = chains "-X " substr($1, 2) "\n"
    }
    /^-A / && !ours($2) && ours($NF) && $(NF - 1) == "-j" { rules = rules "-D" substr($0, 3) "\n" }
    END { if (rules flush != "") printf "*filter\n%s%s%sCOMMIT\n", rules, flush, chains }'
}

address_sets() {
  command -v ipset >/dev/null || return 0
  for set in $(ipset list -n 2>/dev/null); do
    case $set in KUBE-SRC-* | KUBE-DST-*) echo "$set" ;; esac
  done
}

# A line for each.
left() {
  for process in $(controllers); do echo "process $process"; done
  for command in $(filters); do
    [ -z "$("$command-save" -t filter 2>/dev/null | removal_of_rules)" ] || echo "rules of $command"
  done
  for set in $(address_sets); do echo "set $set"; done
}
