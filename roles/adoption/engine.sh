# engine: prints containerd's configuration, as containerd reads it with all files that it imports, and that of its version where
# nobody has one (usual); what containers begin with (spec); and limits, of its unit and systemd's own. Nothing where muster has
# written it. What is said to registries may be secret, and is not printed.
engine() {
  [ ! -e /var/lib/muster/stamps/containerd.service ] || return 0
  # What cannot be read is told as such.
  config=$(containerd config dump 2>/dev/null) || config='['
  printf '%s\n' "$config" | awk '
    /^ *\[/ { secret = /\.registry\.(configs|auths|headers)/ }
    secret && !/^ *\[/ { sub(/=.*/, "= \"hidden\"") }
    { print "engine_has " $0 }'
  containerd config default | sed 's/^/engine_usual /'
  printf '%s\n' "$config" | sed -n "s/^ *base_runtime_spec *= *[\"']\(.*\)[\"']\$/\1/p" | sort -u | while read -r spec; do
    [ ! -r "$spec" ] || say engine_spec "$spec" "$(tr -d '\n' <"$spec")"
  done
  [ -z "$(ls -A /etc/docker/certs.d 2>/dev/null)" ] || say engine_docker_certs
  # Not those of the process: Go gives itself more open files than it gives to what it starts.
  systemctl show -p LimitNOFILE -p LimitNOFILESoft -p LimitMEMLOCK -p LimitMEMLOCKSoft containerd | sed 's/^/engine_limit /'
  systemctl show -p DefaultLimitNOFILE -p DefaultLimitNOFILESoft -p DefaultLimitMEMLOCK -p DefaultLimitMEMLOCKSoft | sed 's/^/engine_limit /'
}
