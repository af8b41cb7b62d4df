#!/bin/sh
# What muster makes of twenty public inventories of kubespray's, of 2017 to 2026: for each of them a row of a table in Markdown with
# its network and engine, whether a set-up goes on to its machines, and by what it is refused if it does not. What is refused must
# be what is listed here, and with this set as the message says it must go on. docs/public-inventories.md has the result. It is not
# among the tests because it needs a clone of each repository; what is not there is left out. No machine is contacted: everything runs
# in a network namespace that has nothing but the loopback interface.
#
#   scripts/public-inventories.sh FOLDER    the clones are FOLDER/OWNER/NAME
#   MUSTER=...                              the program, where it is not target/debug/muster
set -eu
[ $# -eq 1 ] || { sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"; exit 2; }
if [ -z "${ALONE-}" ]; then
  exec unshare --map-root-user --net env ALONE=yes sh "$0" "$@"
fi
[ -z "$(ip route)" ] || { echo 'there is a network here, and there must be none' >&2; exit 1; }
ip link set lo up
folder=$(cd "$1" && pwd)
muster=${MUSTER:-$(dirname "$0")/../${CARGO_TARGET_DIR:-target}/debug/muster}
case ${CARGO_TARGET_DIR-} in /*) muster=${MUSTER:-$CARGO_TARGET_DIR/debug/muster} ;; esac
muster=$(readlink -f "$muster")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/home"
export HOME="$work/home"
# The clones are of another user than the one in this namespace.
git config --global safe.directory '*'
ln -s "$muster" "$work/setup-cluster"
version=$("$muster" bundle list --versions | sed -n 's/^\([0-9][0-9.]*\).*/\1/p' | head -n 1)
# Keys are nobody's to publish; some inventories name one.
ssh-keygen -q -t ed25519 -N '' -f "$work/key"

# NUMBER OWNER/NAME COMMIT HOSTS [VARIABLE=VALUE...]: what is refused, and what is set instead.
list() {
  cat <<'LIST'
01 Delacroix/kargo-aws-k8s cde3aa5 inventory/inventory.cfg
03 javdet/cassandra-kube 2a2d4b7 inventory/hosts
05 linkernetworks/vortex-installer 393d1f7 inventory/inventory.ini
07 mlushpenko/kubespray-test 1f36185d inventory/mycluster/hosts.ini
09 sdodsley/k8s-pure 9f56496 inventory/hosts.ini
11 HC-marcdicarlo/prodcluster01 60abb72 prodcluster01.ini
13 sadpdtchr/kubespray 9bd50607 inventory/inventory.cfg dns_domain=cluster.local
15 OpsMx/k8s-kubespray fd6c984 kubespray-install/default/hosts.ini cloud_provider=external
17 s-larionov/ansible 9906989 inventory/k8s.yml
19 Wolskie/kubespray-inventory 49ee1ca inventory.ini
21 yuha0/home-infra-ansible 87dba44 inventory/k0.ini
23 laith-leo/kubespray-prod 704394f inventory/mycluster/hosts.yaml
25 smart-cn/kubespray_inventory be463b6 hosts.yaml kube_network_plugin=calico
27 fritzduchardt/m5-cluster 490a917 inventory/m5-cluster.ini kube_network_plugin=calico
29 ophum/home-k8s d1169ac ansible/kubernetes/hosts
31 eukhlg/diploma 75ba8ec kubespray/inventory/mycluster/inventory.ini
33 cloudnull/genestack-baseline e041e76 inventory/inventory.yaml
35 MaximilianClemens/hcloud-kubespray 8242749 inventory/hosts
37 HaeDalWang/kubespray-on-aws e1b3e70 kubespray/inventory/inventory.yaml
39 MohammadBnei/infra-bootstrap 06ffc9a inventory/ukubi/hosts.yaml cilium_encryption_enabled=false
LIST
}

# tried HOSTS [VARIABLE=VALUE...]: nothing if a set-up goes on to the machines, else what is refused, or the error.
tried() {
  hosts=$1
  shift
  for set; do
    shift
    set -- "$@" -e "$set"
  done
  said=$("$work/setup-cluster" -i "$hosts" "$@" -e "kube_version=$version" -e "ansible_ssh_private_key_file=$work/key" \
    --offline --bundle none </dev/null 2>&1) || true
  # What is wrong with variables is said before what the bundle lacks.
  case $said in *'error: the bundle none lacks:'*) return ;; esac
  refused=$(printf '%s\n' "$said" | sed -n '/^──/,$s/^\([a-z0-9_]\{1,\}\) .*/\1/p' | sort -u | tr '\n' ' ')
  [ -n "$refused" ] || refused=$(printf '%s\n' "$said" | grep '^error:' | head -n 1)
  printf '%s' "${refused% }"
}

# row NUMBER REPOSITORY HOSTS RESULT: the row of the table. How many variables ask for something, and how many of those are not
# implemented, is noted in $work/counts.
row() {
  python3 - "$muster" "$work/counts" "$@" <<'PYTHON'
import json, re, subprocess, sys
muster, counts, number, repository, hosts_file, result = sys.argv[1:]

def asked(*words):
    return subprocess.run([muster, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout

inventory = ["-i", hosts_file]
groups = json.loads(asked("inventory", *inventory, "--list"))
of_users = groups["_meta"]["hostvars"]

def members(group):
    here = groups.get(group, {})
    return set(here.get("hosts", [])).union(*map(members, here.get("children", [])))

machines = sorted(members("kube_control_plane") | members("kube_node") | members("etcd"))
said = {remark["name"]: remark["what"] for remark in json.loads(asked("vars", *inventory, "--unused", "--json"))}
own = set(re.findall(r"^  #?(\w+):", asked("docs", "vars"), re.M))
# Where a machine is asks for nothing.
own -= {"ip", "access_ip", "ip6", "etcd_member_name"}
asks, networks, engines = set(), set(), set()
for host in machines:
    values = json.loads(asked("vars", *inventory, host, "--json"))
    usual = json.loads(asked("vars", "-i", host + ",", host, "--json"))
    networks.add(values["kube_network_plugin"])
    engines.add(values["container_manager"])
    asks |= {name for name in of_users[host] if name in own and values.get(name) != usual.get(name)}
asks.discard("kube_version")
absent = sorted(name for name, what in said.items() if what.startswith("not implemented: "))
asks |= {name for name, what in said.items() if what.startswith("refused; ")} | set(absent)
named = ": " + ", ".join("`%s`" % name for name in absent) if absent else ""
joined = [", ".join(sorted(some)) for some in (networks, engines)]
print("|", " | ".join([number, repository, *joined, result, str(len(asks)), str(len(absent)) + named]), "|")
print(len(asks), len(absent), file=open(counts, "a"))
PYTHON
}

all=0 on=0 bad=0
echo '| nr | repository | network | engine | a set-up | asks for | not implemented |'
echo '|---|---|---|---|---|---|---|'
while read -r number repository commit hosts mended; do
  clone=$folder/$repository
  [ -e "$clone" ] || continue
  all=$((all + 1))
  tree=$work/$number
  mkdir "$tree"
  # What a run of kubespray's has put beside its inventory is no part of it.
  git -C "$clone" archive "$commit" -- . ':!*/artifacts/*' | tar -x -C "$tree"
  cd "$tree"
  refused=$(tried "$hosts")
  expected=$(for set in $mended; do echo "${set%%=*}"; done | sort -u | tr '\n' ' ')
  result='goes on'
  if [ -n "$refused" ]; then
    # shellcheck disable=SC2016 # as Markdown has them
    result="is refused: \`$(echo "$refused" | sed 's/ /`, `/g')\`"
  else
    on=$((on + 1))
  fi
  if [ "$refused" != "${expected% }" ]; then
    bad=$((bad + 1))
    echo "$number: refused is \"$refused\", and expected \"${expected% }\"" >&2
  elif [ -n "$mended" ]; then
    # shellcheck disable=SC2086 # several words
    left=$(tried "$hosts" $mended)
    if [ -n "$left" ]; then
      bad=$((bad + 1))
      echo "$number: with $mended there is still: $left" >&2
    fi
  fi
  row "$number" "$repository" "$hosts" "$result"
done <<LIST
$(list)
LIST
echo
awk -v on="$on" -v all="$all" '{ asks += $1; absent += $2 }
  END { print on " of " all " go on; of " asks " variables that ask for something " absent " are not implemented" }' "$work/counts"
[ $bad -eq 0 ]
