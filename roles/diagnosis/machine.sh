# Why a machine's part of the cluster is not well. Read-only. Prints what was found, a line each.
# $1: the units that must run there, with blanks between them.
units=$1
# Without the time and the line of the program, which klog writes in front.
recent() {
  journalctl --quiet --no-pager --output=cat --since=-2min --unit="$1" 2>/dev/null |
    sed 's/^[EWIF][0-9]* [0-9:.]* *[0-9]* [^]]*\] //'
}
for unit in $units; do
  state=$(systemctl is-active "$unit" 2>/dev/null)
  [ "$state" != active ] || continue
  echo "$unit does not run (${state:-unknown})"
  # Many lines of where it was in its program may follow.
  recent "$unit" | grep -m 1 -E 'is lower than determined cluster version|^panic: |^fatal error: ' | cut -c 1-400 | sed "s/^/$unit: /"
  recent "$unit" | tail -n 3 | sed "s/^/$unit: /"
done
known='failed to find plugin|already has an IP address different|subnet\.env: no such file|cni config|cni plugin not initialized'
known="$known|ErrImage|ImagePullBackOff|failed to pull|DiskPressure|low on resource|container runtime is down|containerd\.sock"
known="$known|failed to load [Kk]ubelet config|failed to validate kubelet config|unrecognized feature gate|failed to parse kubelet flag|unknown flag|Unauthorized|x509: "
# Each complaint once.
recent kubelet | grep -E "$known" |
  sed 's/sandbox \\*"[0-9a-f]*\\*"/a sandbox/' | cut -c 1-600 |
  awk '!told[$0]++' | tail -n 5 | sed 's/^/kubelet: /'
# The end of what containers have written that began again in the last ten minutes: the newest but one of their files.
find /var/log/pods -name '[1-9]*.log' -mmin -10 2>/dev/null | head -n 5 | while read -r log; do
  number=${log##*/}
  before=${log%/*}/$((${number%.log} - 1)).log
  container=${log%/*}
  [ -r "$before" ] || continue
  pod=${container%/*}
  tail -n 2 "$before" | sed 's/^[^ ]* [a-z]* [FP] //' | cut -c 1-400 |
    sed "s|^|container ${container##*/} of ${pod##*/} ended, and wrote last: |"
done
exit 0
