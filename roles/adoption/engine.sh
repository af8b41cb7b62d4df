# engine: prints the tables of containerd's configuration, with the runtime that pods get by default, as containerd reads it with all
# files that it imports. Nothing where muster has written it.
engine() {
  [ ! -e /var/lib/muster/stamps/containerd.service ] || return 0
  containerd config dump | sed -n 's/^ *\(\[.*\]\)$/engine_table \1/p; s/^ *default_runtime_name *= */engine_default /p'
}
