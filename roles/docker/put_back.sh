# Docker does not start with its configuration ($1): that with which it has started last ($2) takes the place of it.
! systemctl -q is-active docker || exit 0
[ -e "$2" ] && [ "$(cat "$2")" != "$(cat "$1")" ] || exit 0
cp -p "$2" "$1.muster"
sync "$1.muster"
mv -f "$1.muster" "$1"
systemctl reset-failed docker 2>/dev/null || :
systemctl restart docker
echo "Docker does not start with what the variables docker_* say: it goes on with what it had before"
