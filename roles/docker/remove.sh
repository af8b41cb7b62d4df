# Takes muster's Docker away; what it has in its folder stays. No container of it runs, unless that does not matter.
# $1: the mark, which goes last; $2: containerd's folder of state, or nothing where containers are stopped; then the programs.
mark=$1 state=$2
shift 2
stamps=${mark%/*}
if [ -n "$state" ]; then
  # A namespace of containerd's for each map of users (--userns-remap).
  for task in "$state"/io.containerd.runtime.v2.task/moby/* "$state"/io.containerd.runtime.v2.task/moby-*/*; do
    [ ! -e "$task" ] || {
      # shellcheck disable=SC2016 # for the user to type
      echo 'containers of Docker run, which would be stopped: docker ps; docker stop $(docker ps -q)' >&2
      exit 1
    }
  done
fi
if [ -e /etc/systemd/system/docker.service ]; then
  systemctl stop docker.service
  systemctl disable docker.service
  rm -f /etc/systemd/system/docker.service
  systemctl daemon-reload
  systemctl reset-failed docker.service 2>/dev/null || :
fi
# The containers of Docker outlive it with --live-restore. Prints the processes that keep them, each with the ID of its container; not
# those of a Docker in a container.
shims() {
  for process in /proc/[0-9]*; do
    words=$(tr '\0' ' ' 2>/dev/null <"$process/cmdline") || continue
    case $words in
      *containerd-shim*' -namespace moby -id '* | *containerd-shim*' -namespace moby '*' -id '* | \
        *containerd-shim*' -namespace moby-'*' -id '*)
        words=${words#* -id }
        [ "$(readlink "$process/ns/pid")" != "$(readlink /proc/self/ns/pid)" ] || echo "${process#/proc/} ${words%% *}"
        ;;
    esac
  done
}
# Prints the processes in them, by their control groups, which have the ID in their names.
inmates() {
  [ -z "$ids" ] || grep -lE "$ids" /proc/[0-9]*/cgroup 2>/dev/null | sed 's|^/proc/\([0-9]*\)/cgroup$|\1|' || :
}
if [ -z "$state" ]; then
  kept=$(shims)
  ids=$(printf '%s\n' "$kept" | awk '$2 ~ /^[0-9a-f]+$/ && length($2) == 64 { printf "%s%s", sep, $2; sep = "|" }')
  for round in 1 2 3 4 5 6 7 8 9 10; do
    left=$(shims | awk '{ print $1 }'; inmates)
    [ -n "$left" ] || break
    # shellcheck disable=SC2086 # one word is one process
    kill -9 $left 2>/dev/null || :
    [ "$round" = 1 ] || sleep 0.3
  done
fi
rm -f "$stamps/docker.service" /etc/docker/daemon.json /etc/docker/daemon.json.started /etc/docker/daemon.json.started.new \
  /etc/docker/daemon.json.muster /etc/docker/proxies.env /run/docker.pid /run/docker.sock
rmdir /etc/docker 2>/dev/null || :
for point in /run/docker/netns/*; do
  [ ! -e "$point" ] || umount "$point" 2>/dev/null || :
done
rm -rf /run/docker 2>/dev/null || :
# Its bridges have names that nobody else gives (twelve digits); its rules name them, or chains of its own.
for bridge in /sys/class/net/docker0 \
  /sys/class/net/br-[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]; do
  [ ! -e "$bridge/bridge" ] || ip link delete "${bridge##*/}" || :
done
for command in iptables ip6tables; do
  command -v "$command-save" >/dev/null || continue
  rules=$("$command-save" 2>/dev/null | awk '
    BEGIN {
      for (n = 0; n < 12; n++) digits = digits "[0-9a-f]"
      bridge = " -[io] (docker0|br-" digits ")( |$)"
    }
    /^\*/ { table = $0; rules = flush = chains = "" }
    /^:DOCKER/ { chain = substr($1, 2); flush = flush "-F " chain "\n"; chains = chains "-X " chain "\n" }
    /^-A / && $2 !~ /^DOCKER/ && (/ -[jg] DOCKER/ || $0 ~ bridge) { rules = rules "-D" substr($0, 3) "\n" }
    /^COMMIT/ { if (rules flush != "") printf "%s\n%s%s%sCOMMIT\n", table, rules, flush, chains }')
  [ -z "$rules" ] || printf '%s\n' "$rules" | "$command-restore" -w 5 --noflush
done
for program; do rm -f "$program" "$stamps/file$program"; done
rm -f "$mark"
