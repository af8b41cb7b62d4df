#!/bin/sh
# muster beside Ansible, pyinfra and plain ssh: the same 20 resources on many machines, first and second run, in turn.
#
#   bench/peers.sh                     3, 50, 200 and 1,000 machines, 3 that are 100 ms away, and one command on 500: an hour
#                                      and five minutes, nearly all of it Ansible's
#   bench/peers.sh --hosts 500 --program target/release/muster --tools floor,muster,tuned   one command
#   bench/peers.sh --hosts 3,500       other numbers of machines; see bench/peers/bench.py --help
#
# Needs root (a network namespace of its own, in which no packet can leave this computer), sshd and Python >= 3.12 (PYTHON
# names one). The peers come from PyPI into a virtual environment in the cache folder; the programs are built here. Without
# arguments the tables go into bench/RESULTS.md, between their marks there.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
venv=${XDG_CACHE_HOME:-$HOME/.cache}/muster/peers
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

[ -x "$venv/bin/pyinfra" ] || {
  "${PYTHON:-python3}" -m venv "$venv"
  "$venv/bin/pip" install --quiet -r "$here/peers/requirements.txt"
}
(cd "$here/.." && cargo build --quiet --release --workspace --bins --example peers)
built=$(cd "$here/.." && cd "${CARGO_TARGET_DIR:-target}/release" && pwd)

# In a namespace of its own, with nothing but loopback.
run() {
  unshare --net sh -c 'ip link set lo up && exec "$@"' sh "$venv/bin/python" -B "$here/peers/bench.py" \
    --muster "$built/examples/peers" --work "$work/farm" --report "$work/report" "$@"
}
if [ $# -gt 0 ]; then
  run "$@"
  cat "$work/report"
  exit
fi

{
  echo "Measured on $(date +%F) with $(nproc) cores that controller and machines share ($(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1), Linux $(uname -r));"
  echo "$(sed 's/==/ /' "$here/peers/requirements.txt" | paste -sd, | sed 's/,/, /g'), $(ssh -V 2>&1 | sed 's/,.*//')."
} >"$work/report"
run
run --hosts 3 --delay 100
run --hosts 500 --program "$built/muster" --tools floor,muster
sed -i -e "/^<!-- peers -->/,/^<!-- end of peers -->/ { /^<!-- end of peers -->/ { r $work/report" -e 'a <!-- end of peers -->' -e '}; /^<!-- peers -->/!d }' "$here/RESULTS.md"
cat "$work/report"
