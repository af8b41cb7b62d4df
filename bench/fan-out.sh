#!/bin/sh
# Fan-out: one file to many machines over one slow uplink, with machines that hand it on to each other against an upload
# to each. The machines are network namespaces with an sshd each, on a bridge in a namespace of its own: nothing leaves
# this computer. Prints the times, the bytes over the uplink, and both ratios.
#
#   bench/fan-out.sh [MACHINES [MB [MBIT]]]      20 machines, 100 MB, 100 Mbit/s unless said otherwise; as root
#
# PROGRAM names the compiled crates/engine/examples/fan_out.rs, where it is not to be compiled by `cargo build`.
set -eu
cd "$(dirname "$0")/.."
machines=${1:-20} mb=${2:-100} mbit=${3:-100}
if [ -z "${PROGRAM:-}" ]; then
  cargo build --release -p muster-engine --example fan_out
  PROGRAM=target/release/examples/fan_out
fi
work=$(mktemp -d)
name=mfo$$
hosts=
i=0
while [ $i -lt "$machines" ]; do i=$((i + 1)) hosts="$hosts 10.146.240.$((i + 10))"; done

clean() {
  trap - EXIT
  for namespace in $(ip netns list | grep "^$name-" | cut -d ' ' -f 1); do
    # Everything in these namespaces was begun here.
    ip netns pids "$namespace" | xargs -r kill -9 2>/dev/null || true
    ip netns del "$namespace"
  done
  rm -rf "$work"
}
trap clean EXIT
trap 'exit 1' HUP INT TERM

ip netns add "$name-switch"
ip -n "$name-switch" link add bridge type bridge
ip -n "$name-switch" link set bridge up

# plug NAMESPACE ADDRESS: a namespace with one cable to the bridge.
plug() {
  ip netns add "$1"
  ip -n "$1" link set lo up
  ip link add eth0 netns "$1" type veth peer name "port${2##*.}" netns "$name-switch"
  ip -n "$name-switch" link set "port${2##*.}" master bridge up
  ip -n "$1" addr add "$2/24" dev eth0
  ip -n "$1" link set eth0 up
}

plug "$name-controller" 10.146.240.1
tc -n "$name-controller" qdisc add dev eth0 root tbf rate "${mbit}mbit" burst 128kb latency 50ms
mkdir -p /run/sshd
ssh-keygen -q -t ed25519 -N '' -f "$work/key"
ssh-keygen -q -t ed25519 -N '' -f "$work/host"
for host in $hosts; do
  machine=$name-${host##*.}
  plug "$machine" "$host"
  mkdir -p "$work/$machine"
  # SHLVL: bash reads ~/.bashrc when sshd starts it, but not below another shell.
  cat >"$work/$machine.conf" <<END
ListenAddress $host
HostKey $work/host
AuthorizedKeysFile $work/key.pub
PidFile none
UsePAM no
StrictModes no
SetEnv SHLVL=1
END
  # Each has a /var/lib of its own: `ip netns exec` gives it a mount namespace already.
  # shellcheck disable=SC2016 # The inner shell expands it.
  ip netns exec "$machine" sh -c 'mount --bind "$1" /var/lib && exec /usr/sbin/sshd -D -e -f "$2"' sh "$work/$machine" "$work/$machine.conf" 2>"$work/$machine.log" </dev/null &
done
head -c "$((mb << 20))" /dev/urandom >"$work/file"
sum=$(sha256sum <"$work/file")
sleep 1

uplink() { ip netns exec "$name-controller" cat /sys/class/net/eth0/statistics/tx_bytes; }

# bring yes|no: prints seconds and bytes over the uplink.
bring() {
  for host in $hosts; do rm -rf "$work/$name-${host##*.}/muster"; done
  before=$(uplink)
  # shellcheck disable=SC2086 # A list of hosts.
  ip netns exec "$name-controller" "$PROGRAM" "$work/file" "$work/key" "$work/known_hosts" "$1" $hosts >"$work/out" || { cat "$work/out"; return 1; } >&2
  grep warning "$work/out" >&2 || true
  for host in $hosts; do
    [ "$(cat "$work/$name-${host##*.}/muster/incoming/"* | sha256sum)" = "$sum" ] || { echo "$host has not got it" >&2; return 1; }
  done
  echo "$(tail -n 1 "$work/out") $(($(uplink) - before))"
}

echo "$mb MB to $machines machines over $mbit Mbit/s"
result=$(bring yes)
# shellcheck disable=SC2086 # Numbers.
set -- $result
echo "fan-out:            $1 s, $(($2 >> 20)) MB over the uplink"
fast=$1 few=$2
result=$(bring no)
# shellcheck disable=SC2086 # Numbers.
set -- $result
echo "an upload to each:  $1 s, $(($2 >> 20)) MB over the uplink"
echo "ratio:              $(awk "BEGIN { printf \"%.1f times as fast, %.1f times fewer bytes\", $1 / $fast, $2 / $few }")"
