# The packages of the machine's operating system. Parameters: LOCK_TIMEOUT (in seconds) HTTP_PROXY HTTPS_PROXY NO_PROXY.
lock_timeout=$1
[ -z "$2" ] || export http_proxy="$2"
[ -z "$3" ] || export https_proxy="$3"
[ -z "$4" ] || export no_proxy="$4"

# A package manager that makes images of the system stands before the one that it is made with.
manager=none
for program in rpm-ostree transactional-update apt-get dnf yum zypper apk pacman; do
  ! command -v "$program" >/dev/null || {
    manager=$program
    break
  }
done

# Configuration files that somebody has changed stay; of the others the new ones are taken.
apt() {
  DEBIAN_FRONTEND=noninteractive apt-get -y -o DPkg::Lock::Timeout="$lock_timeout" -o Dpkg::Use-Pty=0 \
    -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@"
}

# Whether dpkg was interrupted.
unfinished() {
  [ -e /var/lib/dpkg/updates/0000 ] || grep -q '^Status: .* \(unpacked\|half-.*\|triggers-.*\)$' /var/lib/dpkg/status
}

# Whether the machine has to be restarted for what was upgraded since it was. Where dnf cannot tell it is so after every upgrade.
upgraded=/run/muster-packages-upgraded
needs_restart() {
  if [ -e /run/reboot-required ] || [ -e /var/run/reboot-required ]; then return 0; fi
  if [ "$manager" = apt-get ]; then return 1; fi
  if ! command -v needs-restarting >/dev/null; then [ -e "$upgraded" ] && return; fi
  needs-restarting -r >/dev/null 2>&1
  [ $? = 1 ]
}
