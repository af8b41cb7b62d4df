# Prints what is newer in the repositories than on the machine, in the package manager's words. $5: `aside` where the lists of what
# they have are to be fetched for this look alone, and nothing on the machine is to be another one after it.
read -r boot </proc/sys/kernel/random/boot_id
printf 'manager %s\nboot %s\n' "$manager" "$boot"
! needs_restart || echo restart
status=0 aside=
[ "$5" != aside ] || aside=$(mktemp -d)
case $manager in
  apt-get)
    ! unfinished || echo unfinished
    set --
    [ -z "$aside" ] || {
      mkdir "$aside/partial"
      set -- -o Dir::State::lists="$aside" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root
      apt "$@" -o APT::Update::Error-Mode=any update >&2 || status=$?
    }
    # Half of a package may stand in its way; that is mended first.
    [ "$status" != 0 ] || apt "$@" -s --auto-remove dist-upgrade || unfinished || status=1
    ;;
  dnf | yum)
    set --
    [ -z "$aside" ] || set -- --setopt=cachedir="$aside"
    "$manager" -q "$@" check-update || status=$?
    # It has something.
    [ "$status" != 100 ] || status=0
    ;;
esac
[ -z "$aside" ] || rm -rf "$aside"
[ "$status" = 0 ] || exit "$status"
echo whole
