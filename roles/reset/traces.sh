# What pods, the kubelet, kube-proxy and network plugins leave in the kernel; packet_filter.sh stands in front. Read-only.
# $1: whether the networks of other tools count as well (yes, or nothing); $2: the network of pods; $3: folders below which
# nothing may be mounted, one after the other with spaces; $6: the name of calico's network
# (of CNI), where the cluster's was that; else nothing; $7: whether it was cilium's (yes, or nothing); $8: the network of pods of IPv6,
# where there is one.
foreign=$1 pods=$2 folders=$3 calico=$6 cilium=$7 pods6=$8

# The processes of pods, by their control group, and those that keep containers of Kubernetes.
pod_processes() {
  for process in /proc/[0-9]*; do
    # Not those of a cluster in containers on this machine, whose groups are below that of its container.
    if grep -qsE '^[0-9]+:[^:]*:/kubepods(\.slice)?/' "$process/cgroup"; then echo "${process#/proc/}"; continue; fi
    case $(tr '\0' ' ' 2>/dev/null <"$process/cmdline") in
      *containerd-shim*' -namespace k8s.io '*)
        [ "$(readlink "$process/ns/pid")" != "$(readlink /proc/self/ns/pid)" ] || echo "${process#/proc/}"
        ;;
    esac
  done
}

# The namespaces of networks in which processes run; of podman's containers, too, whose namespaces have names of the same form.
used_networks() { ls -l /proc/[0-9]*/ns/net 2>/dev/null | sed -n 's/.*net:\[\([0-9]*\)\]$/\1/p' | sort -u; }
is_used() {
  for used in $networks; do [ "$used" != "$1" ] || return 0; done
  return 1
}

# Mount points, the last one first. In proc_pid_mountinfo(5) the fifth word is the mount point, with \040 for a space.
mounts() {
  networks=
  for point in /run/netns/cni-*; do
    [ ! -e "$point" ] || { networks=$(used_networks); break; }
  done
  while read -r _ _ _ _ point _; do
    case $point in *'\'*) point=$(printf '%b' "$point") ;; esac
    case $point in
      /run/netns/cni-* | /var/run/netns/cni-*)
        is_used "$(stat -L -c %i "$point" 2>/dev/null || :)" || printf '%s\n' "$point"
        continue
        ;;
    esac
    for folder in $folders; do
      case $point in "$folder"/*) printf '%s\n' "$point" ;; esac
    done
  done </proc/self/mountinfo | awk '{ line[NR] = $0 } END { for (n = NR; n > 0; n--) print line[n] }'
}

# What cilium calls a pod's end on the machine has twelve digits: the bridge of LXC is lxcbr0.
hex='[0-9a-f][0-9a-f][0-9a-f][0-9a-f]'
interfaces() {
  for path in /sys/class/net/*; do
    interface=${path##*/}
    # shellcheck disable=SC2254 # they are patterns
    case $interface in
      cni0 | flannel.[0-9]* | flannel-v6.[0-9]* | kube-ipvs0 | nodelocaldns) echo "$interface" ;;
      cali[0-9a-f]* | vxlan.calico | vxlan-v6.calico) [ -z "$foreign$calico" ] || echo "$interface" ;;
      cilium_* | lxc_health | lxc$hex$hex$hex) [ -z "$cilium" ] || echo "$interface" ;;
      weave | datapath | vxlan-6784 | kube-bridge) [ -z "$foreign" ] || echo "$interface" ;;
    esac
  done
}

# Files of other networks of CNI that cilium has set aside (cilium_cni_exclusive), and nobody has written anew.
set_aside() {
  [ -n "$cilium" ] || return 0
  for path in /etc/cni/net.d/*.cilium_bak; do
    if [ -e "$path" ] && [ ! -e "${path%.cilium_bak}" ]; then printf '%s\n' "$path"; fi
  done
}

# What cilium keeps of its programs and tables in a file system of the kernel's, in which others may have theirs. With its file such
# a program goes, also from the machine's interfaces.
pinned() {
  [ -n "$cilium" ] || return 0
  for path in /sys/fs/bpf/cilium /sys/fs/bpf/tc/globals/cilium_*; do
    [ ! -e "$path" ] || echo "$path"
  done
}

# Programs of cilium's on the machine's own interfaces, where the kernel is too old to let them go with their file: FILTER, the words
# of tc(8) that remove it.
filters() {
  [ -n "$cilium" ] && command -v tc >/dev/null || return 0
  for path in /sys/class/net/*; do
    for side in ingress egress; do
      tc filter show dev "${path##*/}" "$side" 2>/dev/null | awk -v dev="${path##*/}" -v side="$side" '
        / cil_| bpf_(netdev|host|lxc|overlay)/ { for (n = 1; n < NF; n++) if ($n == "pref") print "dev " dev " " side " pref " $(n + 1) }'
    done
  done
}

# Rules by which cilium leads packets to its proxy, and its own rule for addresses of the machine: PRIORITY. They name its marks and
# tables. $1: the family, 4 or 6.
ip_rules() {
  [ -n "$cilium" ] || return 0
  [ "$1" = 4 ] || [ -n "$pods6" ] || return 0
  ip "-$1" rule show 2>/dev/null | sed -n -e 's/^\([0-9]*\):.* lookup 200[45]\( .*\)\{0,1\}$/\1/p' -e 's/^\(100\):.*from all lookup local.*/\1/p'
}

# Addresses of the API that control planes share, where this one holds them: ADDRESS/32 INTERFACE.
shared_addresses() {
  for folder in /etc/kubernetes/api-vip/*; do
    [ -e "$folder" ] || continue
    ip -o -4 addr show to "${folder##*/}/32" 2>/dev/null | while read -r _ interface _ address _; do
      echo "$address $interface"
    done
  done
}

# Routes to the pods of other nodes, through these nodes, and those of calico for its own addresses, which lead nowhere: DESTINATION.
routes() {
  ip -4 route show 2>/dev/null | awk -v net="$pods" '
    function number(address, part) {
      split(address, part, ".")
      return ((part[1] * 256 + part[2]) * 256 + part[3]) * 256 + part[4]
    }
    BEGIN { split(net, wanted, "/"); size = 2 ^ (32 - wanted[2]); first = number(wanted[1]) }
    $1 == "blackhole" { $1 = ""; $0 = $0; nowhere = 1 }
    $1 ~ /\// && ($2 == "via" || nowhere) {
      split($1, to, "/")
      at = number(to[1])
      if (at >= first && at < first + size && to[2] + 0 >= wanted[2] + 0) print $1
    }
    { nowhere = 0 }'
  [ -n "$pods6" ] || return 0
  # Those whose destination is of the network, which the kernel itself knows.
  ip -6 route show root "$pods6" 2>/dev/null | awk '
    $1 == "blackhole" { print $2 }
    $1 ~ /\// && $2 == "via" { print $1 }'
}

# What takes the rules of Kubernetes out of what iptables-save(8) has printed, in the form of iptables-restore(8): only chains
# of its own and rules that lead to them, or that flannel or calico has marked as its own. Chains of CNI plugins may be another program's
# (podman's): their rules name the network that they are of, and that of the cluster is cbr0, or calico's or cilium's. Those that all networks share go
# when no other one is named.
removal_of_rules() {
  awk -v foreign="$foreign" -v calico="$calico" -v cilium="$cilium" '
    BEGIN {
      is_ours["cbr0"] = 1
      if (calico != "") is_ours[calico] = 1
      of_calico = (calico foreign) != ""
      if (cilium != "") is_ours["cilium"] = is_ours["portmap"] = 1
    }
    function ours(chain) {
      if (chain ~ /^(KUBE|FLANNEL)-/) return 1
      if (calico != "" && chain ~ /^cali-/) return 1
      if (cilium != "" && chain ~ /^(OLD_)?CILIUM_/) return 1
      if (foreign != "") return chain ~ /^(CNI-|cali-|WEAVE|CILIUM_)/
      if (chain in of) return is_ours[of[chain]]
      return chain ~ /^CNI-(DN|SN)-/ || chain ~ /^CNI-HOSTPORT-/ && !others
    }
    function target(words, count, n) {
      count = split($0, words)
      for (n = 3; n < count; n++) if (words[n] == "-j" || words[n] == "-g") return words[n + 1]
    }
    /^\*/ { table = $0; count = 0; others = 0; split("", of) }
    /^:/ { line[++count] = $0 }
    /^-A / {
      line[++count] = $0
      if (match($0, /name: \\"[^"\\]*/)) {
        name = substr($0, RSTART + 8, RLENGTH - 8)
        if (target() ~ /^CNI-/ && target() !~ /^CNI-HOSTPORT-/) of[target()] = name
        if (!is_ours[name]) others = 1
      }
    }
    /^COMMIT/ {
      rules = chains = flush = ""
      for (at = 1; at <= count; at++) {
        $0 = line[at]
        chain = substr($1, 2)
        if (/^:/ && ours(chain)) { flush = flush "-F " chain "\n"; chains = chains "-X " chain "\n" }
        if (/^-A / && !ours($2) && (ours(target()) || /--comment "?flanneld/ || of_calico && /--comment "?cali:/)) rules = rules "-D" substr($0, 3) "\n"
      }
      if (rules flush != "") printf "%s\n%s%s%sCOMMIT\n", table, rules, flush, chains
    }'
}

nft_tables() {
  command -v nft >/dev/null || return 0
  nft list tables 2>/dev/null | while read -r _ family table; do
    case $table in
      kube-proxy | flannel-ipv4 | flannel-ipv6) echo "$family $table" ;;
      calico) [ -z "$calico" ] || echo "$family $table" ;;
    esac
  done
}

ip_sets() {
  command -v ipset >/dev/null || return 0
  ours='^KUBE-'
  [ -z "$calico" ] || ours="$ours|^cali"
  [ -z "$cilium" ] || ours="$ours|^cilium_"
  ipset list -n 2>/dev/null | grep -E "$ours" || :
}

# A line for each.
traces() {
  pod_processes | while read -r id; do
    [ ! -e "/proc/$id" ] || echo "process $id ($(cat "/proc/$id/comm" 2>/dev/null || :))"
  done
  mounts | sed 's/^/mount /'
  shared_addresses | sed 's/^/address /'
  interfaces | sed 's/^/interface /'
  set_aside | sed 's/^/set aside /'
  pinned | sed 's/^/pinned /'
  filters | sed 's/^/filter /'
  ip_rules 4 | sed 's/^/rule of ip /'
  ip_rules 6 | sed 's/^/rule of ip -6 /'
  routes | sed 's/^/route /'
  for command in $(iptables_commands); do
    [ -z "$("$command-save" 2>/dev/null | removal_of_rules)" ] || echo "rules of $command"
  done
  nft_tables | sed 's/^/table of nft /'
  ip_sets | sed 's/^/set of ipset /'
}
