# The functions that change a machine; machine.sh stands in front.

# What is read from stdin takes a file's place as a whole. /etc/resolv.conf may be a mount, as in containers, and is written where it is:
# what was cut off is known by the copy.
into() {
  if [ "$1" != /etc/resolv.conf ]; then
    real=$(readlink -f "$1") && { [ ! -e "$real" ] || cp -p "$real" "$real.muster"; } &&
      cat >"$real.muster" && sync "$real.muster" && mv -f "$real.muster" "$real"
    return
  fi
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

# The lines of the file that programs read, without what is muster's.
without_ours() {
  while IFS= read -r line || [ -n "$line" ]; do
    # shellcheck disable=SC2046,SC2086
    case $line in
      'nameserver '*) [ -z "$(untold ${line#nameserver })" ] || echo "$line" ;;
      'search '*)
        line=$(once $(untold ${line#search }))
        [ -z "$line" ] || echo "search $line"
        ;;
      *) printf '%s\n' "$line" ;;
    esac
  done </etc/resolv.conf
}

# What a lease has brought since then is what the machine had before.
keep_lease() {
  leased || return 0
  without_ours >"$kept/file.new"
  own >"$kept/own.new"
  own_search >"$kept/search.new"
  for of in file own search; do
    sync "$kept/$of.new"
    mv -f "$kept/$of.new" "$kept/$of"
  done
}

# Whether somebody has written the file anew since then, and no client of DHCP by what it was told.
is_anothers() { is_anew && ! leased; }

no_older() {
  for path in $(older); do
    beside "$path" >"$kept/beside"
    into "$path" <"$kept/beside"
  done
}

# The machine finds names as it did before.
undo() {
  if [ -s "$kept/mechanism" ]; then
    how=$(cat "$kept/mechanism")
    no_older
    for path in $(targets "$how"); do
      case $path in
        */zz-muster*) rm -f "$path" "$path.muster" ;;
        /etc/resolv.conf)
          if is_anothers; then continue; fi
          keep_lease
          if [ ! -e "$kept/file" ]; then
            # Where a link led to nothing it does so again.
            rm -f "$(readlink -f "$path")"
          elif [ "$(cat "$path")" != "$(cat "$kept/file")" ]; then
            into "$path" <"$kept/file"
          fi
          ;;
        *)
          [ -e "$path" ] || { rm -f "$path.muster"; continue; }
          beside "$path" >"$kept/beside"
          into "$path" <"$kept/beside"
          if [ ! -s "$path" ] && [ -e "$kept/${path##*/}.absent" ]; then rm -f "$path"; fi
          ;;
      esac
    done
    reload "$how" || :
  fi
  rm -rf "$kept"
}
