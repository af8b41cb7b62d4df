# A snapshot of a member that has lost its majority. A copy of its data runs for a moment as a cluster of its own, on other
# ports and for this machine alone: so the log is read to its end, and the data itself stays as it is. Prints what save.sh prints.
# $1: the folder of etcd's certificates; $2: the folder of its data; $3: the member's name; $4: the file.
set -e
certificates=$1 data=$2 name=$3 file=$4
scratch=$data/muster-rescue unit=muster-etcd-rescue
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
# What was cut off.
end
rm -f "$file"
umask 077
mkdir -p "$scratch" "${file%/*}"
needed=$(du -sk "$data/member" | cut -f 1)
free=$(df -Pk "$data" | awk 'NR == 2 { print $4 }')
if [ "$free" -lt $((2 * needed)) ]; then
  echo "a copy and a snapshot of $data/member need $((2 * needed)) KiB, and $free KiB are free there" >&2
  exit 1
fi
quota=$(sed -n 's/^ETCD_QUOTA_BACKEND_BYTES=//p' /etc/etcd.env)
systemctl stop etcd
trap end EXIT
cp -a "$data/member" "$scratch/"
systemd-run --quiet --collect --unit="$unit" "$(command -v etcd)" --name "$name" --data-dir "$scratch" --force-new-cluster \
  --listen-client-urls "$client" --advertise-client-urls "$client" --listen-peer-urls "$peer" \
  --client-cert-auth --trusted-ca-file "$certificates/ca.pem" \
  --cert-file "$certificates/member.pem" --key-file "$certificates/member-key.pem" \
  --peer-client-cert-auth --peer-trusted-ca-file "$certificates/ca.pem" \
  --peer-cert-file "$certificates/member.pem" --peer-key-file "$certificates/member-key.pem" \
  ${quota:+--quota-backend-bytes "$quota"} >&2
attempt=0
# Not `endpoint health`, which an alarm alone makes unhealthy.
until ctl --command-timeout=2s get health >/dev/null 2>&1; do
  attempt=$((attempt + 1))
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
printf '%s %s %s\n' "$size" "${sum%% *}" "$said"
