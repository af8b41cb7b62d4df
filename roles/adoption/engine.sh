# engine: prints containerd's configuration, as the program that runs reads it with all files that it imports, and that of its version
# where nobody has one (usual); folders that it was given as arguments (argument); where the file systems of containers are that run
# (root); what containers begin with (spec); and limits, of its unit and systemd's own. Nothing where muster has
# written it. What is said to registries may be secret, and is not printed.
engine() {
  [ ! -e /var/lib/muster/stamps/containerd.service ] || return 0
  # Also where another one lies in its place by now.
  pid=$(systemctl show -p MainPID --value containerd)
  program=/proc/$pid/exe
  [ "${pid:-0}" != 0 ] && [ -e "$program" ] || program=containerd
  # argument NAME...: what the program was given as one of these.
  argument() {
    [ -r "/proc/$pid/cmdline" ] || return 0
    tr '\0' '\n' <"/proc/$pid/cmdline" | awk -v names=" $* " '
      is_next { print; exit }
      index(names, " " $0 " ") { is_next = 1; next }
      { name = $0; if (sub(/=.*/, "", name) && index(names, " " name " ")) { sub(/^[^=]*=/, ""); print; exit } }' || :
  }
  file=$(argument --config -config -c)
  for name in root state; do
    folder=$(argument "--$name" "-$name")
    [ -z "$folder" ] || say engine_argument "$name $folder"
  done
  # overlayfs; Docker may have an engine of its own.
  sed -n 's/.*[,=]upperdir=\([^,]*\)\/io\.containerd\.snapshotter\..*/\1/p' /proc/mounts 2>/dev/null | grep -v '^/var/lib/docker/' | sort -u |
    while read -r root; do say engine_root "$root"; done
  # What cannot be read is told as such.
  config=$("$program" ${file:+--config "$file"} config dump 2>/dev/null) || config='['
  printf '%s\n' "$config" | awk '
    /^ *\[/ { secret = /\.registry\.(configs|auths|headers)/ }
    secret && !/^ *\[/ { sub(/=.*/, "= \"hidden\"") }
    { print "engine_has " $0 }'
  "$program" config default | sed 's/^/engine_usual /'
  printf '%s\n' "$config" | sed -n "s/^ *base_runtime_spec *= *[\"']\(.*\)[\"']\$/\1/p" | sort -u | while read -r spec; do
    [ ! -r "$spec" ] || say engine_spec "$spec" "$(tr -d '\n' <"$spec")"
  done
  [ -z "$(ls -A /etc/docker/certs.d 2>/dev/null)" ] || say engine_docker_certs
  # Not those of the process: Go gives itself more open files than it gives to what it starts.
  systemctl show -p LimitNOFILE -p LimitNOFILESoft -p LimitMEMLOCK -p LimitMEMLOCKSoft containerd | sed 's/^/engine_limit /'
  systemctl show -p DefaultLimitNOFILE -p DefaultLimitNOFILESoft -p DefaultLimitMEMLOCK -p DefaultLimitMEMLOCKSoft | sed 's/^/engine_limit /'
}
