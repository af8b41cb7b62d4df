# Installs a package of the operating system, or removes one: PACKAGE STAMP LOCK_TIMEOUT (in seconds) HTTP_PROXY HTTPS_PROXY
# NO_PROXY. The stamp is a file that remembers that the package was not there before. Only such a package is ever removed.
package=$1 stamp=$2 lock_timeout=$3
[ -z "$4" ] || export http_proxy="$4"
[ -z "$5" ] || export https_proxy="$5"
[ -z "$6" ] || export no_proxy="$6"

# While apt waits for a lock it says each second who holds it.
apt() {
  DEBIAN_FRONTEND=noninteractive apt-get -y -o DPkg::Lock::Timeout="$lock_timeout" -o Dpkg::Use-Pty=0 "$@"
}

# Finishes what an interrupted dpkg has left.
finish() {
  dpkg --configure -a || {
    echo "dpkg cannot go on: wait for the process that holds its lock, or end it; repair the package that it names; then run this again" >&2
    exit 1
  }
}

# Whether it is on the machine, be it only half.
is_there() {
  if command -v dpkg-query; then
    case $(dpkg-query -W -f '${db:Status-Status}' "$package") in '' | not-installed | config-files) return 1 ;; esac
  elif command -v rpm; then rpm -q "$package"
  else command -v apk && apk info -e "$package"
  fi
} >/dev/null 2>&1

install() {
  # Written first: of a program that is cut off here the machine must not forget what it did.
  is_there || {
    mkdir -p "${stamp%/*}"
    : >"$stamp"
    # Where it does not come, what somebody installs later is theirs.
    trap 'is_there || rm -f "$stamp"' EXIT
  }
  if command -v apt-get; then
    # The lists are fetched only when the package is not known yet.
    apt install --no-install-recommends "$package" || {
      finish
      apt update
      apt install --no-install-recommends "$package"
    }
  elif command -v dnf; then dnf install -y "$package"
  elif command -v yum; then yum install -y "$package"
  elif command -v zypper; then zypper --non-interactive install "$package"
  else apk add "$package"
  fi
}

# Whether others would go with it. apk asks that by itself.
is_needed() {
  if command -v apt-get; then
    [ "$(apt -s remove "$package" | grep -c '^Remv ')" -gt 1 ]
  elif command -v rpm; then ! rpm -e --test "$package"
  else return 1
  fi
}

remove() {
  if is_there; then
    if is_needed; then
      echo "$package stays: other packages need it" >&2
    elif command -v apt-get; then
      apt remove "$package" || {
        finish
        apt remove "$package"
      }
    elif command -v rpm; then rpm -e "$package"
    else apk del "$package"
    fi
  fi
  rm -f "$stamp"
}
