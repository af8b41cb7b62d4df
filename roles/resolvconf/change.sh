# The functions that change a machine; machine.sh stands in front.

# What is read from stdin takes a file's place, in that place: it may be a mount, as in containers, or a link. What was cut off is known by
# the copy.
into() {
  cat >"$kept/new.part" && sync "$kept/new.part" && mv -f "$kept/new.part" "$kept/new" &&
    cat "$kept/new" >"$1" && sync "$1" && rm -f "$kept/new"
}

reload() {
  case $1 in
    resolved) systemctl restart systemd-resolved ;;
    NetworkManager) systemctl reload NetworkManager ;;
    resolvconf) resolvconf -u ;;
  esac
}

# The machine finds names as it did before.
undo() {
  if [ -s "$kept/mechanism" ]; then
    was=$(cat "$kept/mechanism")
    for path in $(targets "$was"); do
      case $path in
        */zz-muster.conf) rm -f "$path" ;;
        /etc/resolv.conf)
          # One that somebody has written since then stays.
          if [ ! -e "$kept/new" ] && ! grep -qs "^$begin" "$path" &&
            [ "$(sed -n 's/^nameserver *//p' "$path" 2>/dev/null | head -n 1)" != "$(cat "$kept/server")" ]; then
            continue
          fi
          if [ ! -e "$kept/file" ]; then
            # Where a link led to nothing it does so again.
            rm -f "$(readlink -f "$path")"
          elif [ "$(cat "$path")" != "$(cat "$kept/file")" ]; then
            into "$path" <"$kept/file"
          fi
          ;;
        *)
          [ -e "$path" ] || continue
          beside "$path" >"$kept/beside"
          into "$path" <"$kept/beside"
          if [ ! -s "$path" ] && [ -e "$kept/${path##*/}.absent" ]; then rm -f "$path"; fi
          ;;
      esac
    done
    reload "$was" || :
  fi
  rm -rf "$kept"
}
