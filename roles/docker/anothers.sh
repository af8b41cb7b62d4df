# Prints by which file a Docker is known that muster has not set up. $1: the mark of the one that it has.
anothers_docker() {
  [ ! -e "$1" ] || return 0
  for path in /etc/systemd/system/docker.service /etc/systemd/system/docker.service.d /usr/local/lib/systemd/system/docker.service \
    /usr/lib/systemd/system/docker.service /lib/systemd/system/docker.service /etc/docker/daemon.json /run/docker.sock \
    "$(command -v dockerd || :)"; do
    [ ! -e "$path" ] || { echo "$path"; return 0; }
  done
}
