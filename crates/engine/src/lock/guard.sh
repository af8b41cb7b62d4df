mine() {
for f in /var/lib/muster/lock/fence.*; do
[ "${f##*.}" -le "$fence" ] || return 1;
done;
{ read -r h r && [ "$h" = "$run" ] && while read -r h; do [ "$h" != released ] || return 1; done; } <"/var/lib/muster/lock/fence.$fence";
} 2>/dev/null;
begin() {
read -r s </proc/$$/stat && read -r b </proc/sys/kernel/random/boot_id && read -r u r </proc/uptime || return 1;
set -- ${s##*) };
echo "$$ ${20} $b $run $kind" >"$record" && mine && echo "$b ${u%.*}" >>"/var/lib/muster/lock/fence.$fence";
} 2>/dev/null;
begin || exit "$refused";
