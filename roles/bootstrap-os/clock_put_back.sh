# put_back FOLDER: the configuration that is kept there takes its place again, and what reads it starts anew.
put_back() {
  # A note that a power cut has left empty says nothing.
  [ -s "$1/path" ] && [ -s "$1/unit" ] || { rm -rf "$1"; return 0; }
  read -r path <"$1/path"
  read -r unit <"$1/unit"
  if [ -e "$1/file" ]; then
    # The package may have gone meanwhile, and the folder with it.
    mkdir -p "${path%/*}"
    cp -p "$1/file" "$path.muster"
    sync "$path.muster"
    mv -f "$path.muster" "$path"
  else
    rm -f "$path"
  fi
  systemctl try-restart "$unit.service" || :
  rm -f "/var/lib/muster/stamps/$unit.service"
  rm -rf "$1"
}
