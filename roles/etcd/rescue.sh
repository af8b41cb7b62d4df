# A snapshot of a member that has lost its majority. A copy of its data runs for a moment as a cluster of its own, on other
# ports and for this machine alone: so the log is read to its end, and the data itself stays as it is. Prints what save.sh prints.
# Then etcd is stopped; but where there is no snapshot in the end, it runs on, also when this program is killed. room.sh stands in front.
# $1: the folder of etcd's certificates; $2: the folder of its data; $3: the member's name; $4: the file.
set -e
certificates=$1 data=$2 name=$3 file=$4
scratch=$data/muster-rescue unit=muster-etcd-rescue saved=/run/muster-etcd-rescued
client=https://127.0.0.1:23790 peer=https://127.0.0.1:23800
ctl() {
  ETCDCTL_API=3 etcdctl --command-timeout=600s --endpoints "$client" --cacert "$certificates/ca.pem" \
    --cert "$certificates/member.pem" --key "$certificates/member-key.pem" "$@"
}
end() {
  systemctl stop "$unit" 2>/dev/null || :
  systemctl reset-failed "$unit" 2>/dev/null || :
  rm -rf "$scratch"
}
kib() { du -sk "$1" | cut -f 1; }
# Where the file system of a folder is mounted.
disk() { df -Pk "$1" | awk 'NR == 2 { print $6 }'; }
# What was cut off.
end
trap end EXIT
rm -f "$file" "$saved"
umask 077
mkdir -p "$scratch" "${file%/*}"
copy=$(kib "$data/member") database=$(kib "$data/member/snap/db")
if [ "$(disk "$data")" = "$(disk "${file%/*}")" ]; then
  needs "$data" $((copy + database)) 'a copy of the data, and a snapshot,'
else
  needs "$data" "$copy" 'a copy of the data'
  needs "${file%/*}" "$database" 'a snapshot'
fi
quota=$(sed -n 's/^ETCD_QUOTA_BACKEND_BYTES=//p' /etc/etcd.env)
back=
case $(systemctl is-active etcd || :) in
  active | activating | reloading) back=yes ;;
esac
# shellcheck disable=SC2016 # the shell of the unit reads them
systemd-run --quiet --collect --unit="$unit" -p RuntimeMaxSec=20min \
  ${back:+-p 'ExecStopPost=sh -c "[ -e /run/muster-etcd-rescued ] || systemctl --no-block start etcd"'} \
  sh -c 'systemctl stop etcd && { [ ! -e /run/muster-etcd-pod ] || sh /var/lib/muster/etcd-pod.sh end; } && cp -a "$1/member" "$2/" && : >"$2/copied" && shift 2 && exec "$@"' sh "$data" "$scratch" \
  "$(command -v etcd)" --name "$name" --data-dir "$scratch" --force-new-cluster \
  --listen-client-urls "$client" --advertise-client-urls "$client" --listen-peer-urls "$peer" \
  --client-cert-auth --trusted-ca-file "$certificates/ca.pem" \
  --cert-file "$certificates/member.pem" --key-file "$certificates/member-key.pem" \
  --peer-client-cert-auth --peer-trusted-ca-file "$certificates/ca.pem" \
  --peer-cert-file "$certificates/member.pem" --peer-key-file "$certificates/member-key.pem" \
  ${quota:+--quota-backend-bytes "$quota"} >&2
attempt=0
# Not `endpoint health`, which an alarm alone makes unhealthy.
until ctl --command-timeout=2s get health >/dev/null 2>&1; do
  # However long it is copied.
  [ ! -e "$scratch/copied" ] || attempt=$((attempt + 1))
  if ! systemctl is-active -q "$unit" || [ "$attempt" = 240 ]; then
    echo 'etcd does not start with a copy of the data:' >&2
    journalctl --no-pager -n 15 -o cat -u "$unit" >&2
    exit 1
  fi
  sleep 0.5
done
ctl snapshot save "$file" >&2
size=$(wc -c <"$file")
sum=$(sha256sum "$file")
said=$(etcdutl snapshot status "$file" -w json)
: >"$saved"
printf '%s %s %s\n' "$size" "${sum%% *}" "$said"
