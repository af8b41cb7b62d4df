#!/bin/sh
# Reading inventories: muster against ansible-core, in turn, in one run; each result is compared before anything is measured.
#   1. 10,000 hosts in INI form: `muster inventory --list` against `ansible-inventory --list`
#   2. all variables of 1,000 hosts, with group_vars as kubespray's users have them: muster's library (the example
#      `resolve` of crates/inventory) against Ansible's (bench/resolve_vars.py)
#
#   bench/inventory.sh [RUNS]       3 runs unless said otherwise; needs python3 with venv, and PyPI the first time
#   MUSTER=..., RESOLVE=...         the programs, where they are not to be built
set -eu
cd "$(dirname "$0")/.."
runs=${1:-3}
version=2.19.14
[ -n "${MUSTER-}" ] || cargo build --release --quiet --bin muster
[ -n "${RESOLVE-}" ] || cargo build --release --quiet --package muster-inventory --example resolve
muster=${MUSTER:-${CARGO_TARGET_DIR:-target}/release/muster}
resolve=${RESOLVE:-${CARGO_TARGET_DIR:-target}/release/examples/resolve}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/muster-bench/ansible-$version
[ -x "$cache/bin/ansible-inventory" ] || { python3 -m venv "$cache" && "$cache/bin/pip" install --quiet "ansible-core==$version"; }
python=$cache/bin/python
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# hosts N: an inventory in INI form as kubespray's users have it.
hosts() {
  awk -v n="$1" 'BEGIN {
    print "[all]"
    for (i = 1; i <= n; i++) {
      address = "10." int(i / 65536) "." int(i / 256) % 256 "." i % 256
      printf "node%d ansible_host=%s ip=%s%s\n", i, address, address, (i <= 3 ? " etcd_member_name=etcd" i : "")
    }
    print "[kube_control_plane]\nnode[1:3]\n[etcd:children]\nkube_control_plane\n[kube_node]"
    for (i = 4; i <= n; i++) print "node" i
    print "[k8s_cluster:children]\nkube_node\nkube_control_plane\n[k8s_cluster:vars]\nansible_user=admin"
  }'
}

mkdir -p "$work/large" "$work/variables/group_vars"
hosts 10000 >"$work/large/hosts.ini"
hosts 1000 >"$work/variables/hosts.ini"
cp bench/group_vars/*.yml "$work/variables/group_vars/"

# measure NAME COMMAND...: wall time in seconds and peak memory in kilobytes.
measure() {
  name=$1; shift
  "$python" - "$name" "$@" >>"$work/times" <<'PYTHON'
import os, resource, subprocess, sys, time
begun = time.monotonic()
status = subprocess.run(sys.argv[2:], stdout=open(os.environ["OUT"], "wb"), stderr=subprocess.PIPE)
took = time.monotonic() - begun
if status.returncode:
    sys.exit(status.stderr.decode())
print(sys.argv[1], "%.4f" % took, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
PYTHON
}

# same FILE FILE: both hold the same JSON.
same() {
  "$python" - "$@" <<'PYTHON'
import json, sys
one, two = (json.load(open(path)) for path in sys.argv[1:])
if "_meta" in one:
    one["_meta"].pop("profile", None)
    for document in (one, two):
        for group in document.values():
            for key in ("hosts", "children"):
                if key in group:
                    group[key] = sorted(group[key])
if one != two:
    for key in sorted(set(one) | set(two)):
        if one.get(key) != two.get(key):
            sys.exit("the results differ in %s:\n%.500s\n%.500s" % (key, one.get(key), two.get(key)))
PYTHON
}

# Nobody's settings count.
cd "$work"
: >ansible.cfg
export ANSIBLE_CONFIG="$work/ansible.cfg" HOME="$work"
i=0
while [ $i -lt "$runs" ]; do
  i=$((i + 1))
  OUT=$work/a measure list-ansible "$cache/bin/ansible-inventory" -i large/hosts.ini --list
  OUT=$work/m measure list-muster "$muster" inventory -i large/hosts.ini --list
  same "$work/a" "$work/m"
  OUT=$work/a measure vars-ansible "$python" "$OLDPWD/bench/resolve_vars.py" variables/hosts.ini
  OUT=$work/m measure vars-muster "$resolve" variables/hosts.ini
  same "$work/a" "$work/m"
done

echo "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1), $(nproc) cores; ansible-core $version, $("$python" --version), $("$muster" --version); medians of $runs"
awk '
  function median(name,   n, list, i, j, t) {
    n = count[name]
    for (i = 1; i <= n; i++) list[i] = time[name, i]
    for (i = 1; i < n; i++) for (j = i + 1; j <= n; j++) if (list[j] < list[i]) { t = list[i]; list[i] = list[j]; list[j] = t }
    return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
  }
  function tell(what, name,   a, m) {
    a = median(name "-ansible"); m = median(name "-muster")
    printf "| %s | %.2f s, %d MB | %.3f s, %d MB | %.0f |\n", what, a, memory[name "-ansible"] / 1024, m, memory[name "-muster"] / 1024, a / m
  }
  { time[$1, ++count[$1]] = $2; if ($3 > memory[$1]) memory[$1] = $3 }
  END {
    print "\n| | ansible-core | muster | times faster |\n|---|---|---|---|"
    tell("reading and listing 10,000 hosts", "list")
    tell("all variables of 1,000 hosts", "vars")
  }' "$work/times"
