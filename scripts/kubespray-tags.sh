#!/bin/sh
# What the sample group_vars of kubespray's tags come to: with flannel and with calico, and a version of Kubernetes that muster has,
# nothing of them may be refused; what they set for calico must be what roles/calico/golden.json records; and each variable must be
# read as Ansible reads it. Not among the tests, because it needs a clone of kubespray with its tags. No machine is contacted.
#
#   scripts/kubespray-tags.sh CLONE [TAG...]    all tags unless said otherwise
#   MUSTER=...                                  the program, where it is not target/debug/muster
#   ANSIBLE_INVENTORY=...                       Ansible's ansible-inventory; without it nothing is compared
set -eu
[ $# -gt 0 ] || { sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"; exit 2; }
clone=$(cd "$1" && pwd); shift
muster=${MUSTER:-$(dirname "$0")/../${CARGO_TARGET_DIR:-target}/debug/muster}
case ${CARGO_TARGET_DIR-} in /*) muster=${MUSTER:-$CARGO_TARGET_DIR/debug/muster} ;; esac
muster=$(readlink -f "$muster")
golden=$(readlink -f "$(dirname "$0")/../roles/calico/golden.json")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ln -s "$muster" "$work/setup-cluster"
# The tags' own samples name a version of their time, if any.
version=$("$muster" bundle list --versions | sed -n 's/^\([0-9][0-9.]*\).*/\1/p' | head -n 1)
[ $# -gt 0 ] || eval "set -- $(git -C "$clone" tag | grep -E '^v?[0-9]' | sort -V | tr '\n' ' ')"

# The hosts that are commented in most samples, in groups with the names of the time.
hosts() {
  case $1 in
    new) plane=kube_control_plane node=kube_node all=k8s_cluster ;;
    *) plane=kube-master node=kube-node all=k8s-cluster ;;
  esac
  printf 'node1 ansible_host=192.0.2.1 ip=192.0.2.1\nnode2 ansible_host=192.0.2.2 ip=192.0.2.2\n'
  printf '[%s]\nnode1\n[etcd]\nnode1\n[%s]\nnode1\nnode2\n[%s:children]\n%s\n%s\n' "$plane" "$node" "$all" "$plane" "$node"
}

# differences FILE FILE: what is another value for the first host.
differences() {
  python3 - "$@" <<'PYTHON'
import json, sys
theirs, ours = (json.load(open(path))["_meta"]["hostvars"]["node1"] for path in sys.argv[1:])
for name in sorted(set(theirs) | set(ours)):
    if theirs.get(name) != ours.get(name):
        print("%s is %r with Ansible, and %r here" % (name, theirs.get(name), ours.get(name)))
PYTHON
}

# of_calico TAG FILE: what the sample sets for calico's objects otherwise than golden.json says. The networks of pods and services are
# the same in all tags, and muster's defaults.
of_calico() {
  python3 - "$golden" "$@" <<'PYTHON'
import json, sys
golden, tag, ours = json.load(open(sys.argv[1])), sys.argv[2], json.load(open(sys.argv[3]))["_meta"]["hostvars"]["node1"]
if ours["kube_network_plugin"] == "calico":
    inputs = [one for group in golden for one in group["inputs"]]
    recorded = [one["variables"] for one in inputs if tag in one["tags"].split()]
    others = {"nat_outgoing", "global_as_num", "kube_proxy_mode", "peer_with_router", "enable_network_policy"}
    found = {name: ours[name] for name in ours if name in others or name.startswith(("calico_", "typha_"))}
    if recorded != [found]:
        print("for calico it sets %r, and golden.json says %r" % (found, recorded))
PYTHON
}

good=0 bad=0 none=0
for tag; do
  rm -rf "$work/inventory"
  if ! git -C "$clone" archive "$tag" inventory 2>/dev/null | tar -x -C "$work" 2>/dev/null; then
    none=$((none + 1))
    continue
  fi
  folder=$work/inventory
  [ ! -d "$folder/sample" ] || folder=$folder/sample
  age=old
  [ ! -e "$folder/group_vars/k8s_cluster" ] || age=new
  hosts $age >"$folder/muster.ini"
  wrong=
  for network in flannel calico; do
    said=$(cd "$folder" && "$work/setup-cluster" -i muster.ini -e "kube_network_plugin=$network" -e "kube_version=$version" \
      --offline --bundle none 2>&1) || true
    # What is wrong with variables is said before what the bundle lacks.
    case $said in *'error: the bundle none lacks:'*) ;; *) wrong=$wrong$said ;; esac
  done
  "$muster" inventory -i "$folder/muster.ini" --list >"$work/ours" 2>/dev/null
  wrong=$wrong$(of_calico "$tag" "$work/ours")
  if [ -n "${ANSIBLE_INVENTORY-}" ]; then
    "$ANSIBLE_INVENTORY" -i "$folder/muster.ini" --list >"$work/theirs" 2>/dev/null
    wrong=$wrong$(differences "$work/theirs" "$work/ours")
  fi
  if [ -z "$wrong" ]; then
    good=$((good + 1))
  else
    bad=$((bad + 1))
    printf '%s:\n%s\n' "$tag" "$wrong"
  fi
done
echo "$good tags in order, $bad not, $none without sample group_vars"
[ $bad -eq 0 ]
