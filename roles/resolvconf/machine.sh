# How the machine finds names, and what of it is the cluster's. Functions; what they read:
# $1: the DNS servers of the cluster that the machine asks first, with blanks between; $2: further servers; $3: search domains, in the
# same way; $4: options of resolv.conf(5); $5: yes, where the machine's own servers are left out; $6: the DNS domain of the cluster;
# $7: all addresses of its DNS. Nothing of it is read by `undo`.
asked=${1:-} further=${2:-} search=${3:-} options=${4:-} alone=${5:-} domain=${6:-} cluster=" ${7:-} "
server=${asked%% *}
kept=/var/lib/muster/stamps/resolv
begin='# muster: names of the cluster begin'
end='# muster: names of the cluster end'

# Prints who says which name servers the machine asks: resolved, NetworkManager, resolvconf, or nobody but the file itself (plain). A
# program that is not known here and writes the file anew is named.
mechanism() {
  link=$(readlink -f /etc/resolv.conf || :)
  case $link in
    */systemd/resolve/*) if systemctl -q is-active systemd-resolved; then echo resolved; return; fi ;;
    */resolvconf/*) if [ -d /etc/resolvconf/resolv.conf.d ]; then echo resolvconf; return; fi ;;
    */NetworkManager/*) if systemctl -q is-active NetworkManager; then echo NetworkManager; return; fi ;;
  esac
  said=$(sed -n 's/^#.*[Gg]enerated by \([A-Za-z-]*\).*/\1/p' /etc/resolv.conf 2>/dev/null | head -n 1)
  if grep -qs '^nameserver 127\.0\.0\.53' /etc/resolv.conf && systemctl -q is-active systemd-resolved; then
    echo resolved
  elif [ "$said" = NetworkManager ] && systemctl -q is-active NetworkManager; then
    echo NetworkManager
  else
    case $said in resolvconf | dhcpcd | connman | netconfig | tailscale) echo "$said (not known)" ;; *) echo plain ;; esac
  fi
}

# The files in which each of them is told.
targets() {
  case $1 in
    resolved) echo /etc/systemd/resolved.conf.d/zz-muster.conf ;;
    NetworkManager) echo /etc/NetworkManager/conf.d/zz-muster.conf ;;
    resolvconf) echo /etc/resolvconf/resolv.conf.d/head /etc/resolvconf/resolv.conf.d/tail ;;
    plain)
      # Of Debian's dhclient-script(8), which reads what is in the folder whenever there is a lease; its name has no dot (run-parts(8)).
      [ ! -d /etc/dhcp/dhclient-enter-hooks.d ] || echo /etc/dhcp/dhclient-enter-hooks.d/zz-muster
      echo /etc/resolv.conf
      ;;
  esac
}

# The files in which an older muster has told dhclient, which reads them only when it starts.
older() {
  for path in /etc/dhcp/dhclient.conf /etc/dhclient.conf; do
    ! grep -qs "^$begin" "$path" || echo "$path"
  done
}

# once WORD...: each word once, with blanks between.
once() {
  words=
  for word; do
    case " $words " in *" $word "*) ;; *) words="$words $word" ;; esac
  done
  echo "${words# }"
}

# foreign WORD...: those that are no address of the cluster's DNS.
foreign() {
  for word; do
    case $cluster in *" $word "*) ;; *) echo "$word" ;; esac
  done
}

# untold WORD...: those that are not muster's: what it has told programs, and the machine did not have itself.
untold() {
  told=" $(cat "$kept/told" 2>/dev/null || cat "$kept/server" 2>/dev/null || :) "
  for word; do
    case $told in *" $word "*) ;; *) echo "$word" ;; esac
  done
}

# The words behind a keyword ($1) in the file that programs read now; of systemd-resolved, the one with the servers that it asks.
listed() {
  file=/etc/resolv.conf
  [ "$how" != resolved ] || file=/run/systemd/resolve/resolv.conf
  sed -n "s/^[[:space:]]*$1[[:space:]][[:space:]]*//p" "$file" 2>/dev/null || :
}

# What systemd-resolved has of each interface, and NetworkManager of each device: what muster says of the whole machine is not in it.
of_links() { resolvectl dns 2>/dev/null | sed -n 's/^Link [^:]*): *//p' | tr ' ' '\n' | sed 's/[#%].*//' || :; }
of_devices() { nmcli -g IP4.DNS,IP6.DNS device show 2>/dev/null | tr '|' '\n' | tr -d ' \\' || :; }

# Whether nobody but the file itself says it, and it is not as muster has written it.
is_anew() { [ "$how" = plain ] && [ ! -e "$kept/new" ] && ! grep -qs "^$begin" /etc/resolv.conf; }

# Whether it was a client of DHCP that wrote it, by what it was told.
leased() {
  is_anew || return 1
  first=$(listed nameserver | head -n 1)
  case " $(cat "$kept/server" 2>/dev/null || :) " in *" $first "*) ;; *) return 1 ;; esac
}

# The machine's own servers: as they are now, where that is to be had; else as they were before.
own() {
  now=
  case $how in
    resolved) now=$(of_links) ;;
    NetworkManager) now=$(of_devices) ;;
    *)
      # shellcheck disable=SC2046
      if [ "$how" != plain ] || is_anew; then now=$(untold $(listed nameserver)); fi
      ;;
  esac
  if [ -z "$now" ]; then
    if [ -e "$kept/own" ]; then now=$(cat "$kept/own"); else now=$(listed nameserver); fi
  fi
  [ ! -e "$kept/global" ] || now="$now $(cat "$kept/global")"
  # shellcheck disable=SC2086
  foreign $now
}

# Its own search domains, of which the last line counts (resolv.conf(5)).
own_search() {
  if [ -e "$kept/search" ] && ! is_anew; then cat "$kept/search"; return; fi
  # shellcheck disable=SC2046
  for word in $(untold $(listed '\(search\|domain\)' | tail -n 1)); do
    case $word in . | *svc."$domain") ;; *) echo "$word" ;; esac
  done
}

# All servers, the cluster's first.
servers() {
  if [ "$alone" = yes ]; then
    # shellcheck disable=SC2086
    once $asked $further
  else
    # shellcheck disable=SC2046,SC2086
    once $asked $further $(own)
  fi
}

# Programs ask no more than three (resolv.conf(5)).
first_three() {
  count=0
  for one; do
    count=$((count + 1))
    [ $count -gt 3 ] || echo "$one"
  done
}

# What pods get, and CoreDNS among them: no server that is the cluster's own, or that is the pod itself there.
for_pods() {
  # shellcheck disable=SC2046
  for one in $(foreign $(servers)); do
    case $one in 127.* | ::1) ;; *) echo "$one" ;; esac
  done | head -n 3 | sed 's/^/nameserver /'
  # shellcheck disable=SC2046
  domains=$(once ${extra_search:-} $(own_search))
  [ -z "$domains" ] || echo "search $domains"
}

lines_of_servers() {
  # shellcheck disable=SC2046
  first_three $(servers) | sed 's/^/nameserver /'
}

line_of_search() {
  # shellcheck disable=SC2046,SC2086
  echo "search $(once $search $(own_search))"
}

# beside FILE: what a file has besides the lines of ours.
beside() { [ ! -e "$1" ] || sed "/^$begin/,/^$end/d" "$1"; }

# joined SEPARATOR WORD...
joined() {
  separator=$1 text=
  shift
  for word; do text="$text${text:+$separator}$word"; done
  echo "$text"
}

# text_of FILE: what it is to hold.
text_of() {
  case $1 in
    */resolved.conf.d/*)
      # Links ask their own servers besides, unless the whole of the names is led to these here.
      routes="~$domain"
      all=$asked
      [ ! -e "$kept/global" ] || all="$all $(cat "$kept/global")"
      if [ "$alone" = yes ] || [ -z "$(of_links)" ]; then all=$(servers); fi
      [ "$alone" != yes ] || routes="$routes ~."
      # shellcheck disable=SC2086
      printf '%s\n' '# muster: resolvconf_mode' '[Resolve]' DNS= "DNS=$(once $all)" "Domains=$search $routes"
      ;;
    */NetworkManager/*)
      # shellcheck disable=SC2046,SC2086
      printf '%s\n' '# muster: resolvconf_mode' '[global-dns]' "searches=$(joined , $(once $search $(own_search)))" \
        "options=$(joined , $options)" '[global-dns-domain-*]' "servers=$(joined , $(first_three $(servers)))"
      ;;
    */head)
      echo "$begin"
      # shellcheck disable=SC2046,SC2086
      first_three $(once $asked $further) | sed 's/^/nameserver /'
      echo "$end"
      beside "$1"
      ;;
    */tail)
      echo "$begin"
      line_of_search
      echo "options $options"
      echo "$end"
      beside "$1"
      ;;
    */dhclient-enter-hooks.d/*)
      # Both of a lease of IPv6 change in the same way: the script compares them.
      # shellcheck disable=SC2016,SC2086 # for dhclient-script; each word is one
      printf '%s\n' '# muster: resolvconf_mode. What a lease says of names comes after what is of the cluster.' \
        "muster_servers='$(once $asked $further)' muster_domains='$(once $search | tr -d "'")' muster_alone=$alone" \
        'muster_once() {
  muster_words=
  for muster_word; do
    case " $muster_words " in *" $muster_word "*) ;; *) muster_words="$muster_words $muster_word" ;; esac
  done
  echo $muster_words
}
muster_all() {
  [ "$muster_alone" != yes ] || set --
  muster_once $muster_servers "$@"
}
if [ -n "${new_domain_name_servers:-}" ]; then
  new_domain_name_servers=$(muster_all $new_domain_name_servers)
fi
if [ -n "${new_domain_name_servers:-}${new_domain_name:-}${new_domain_search:-}" ]; then
  new_domain_search=$(muster_once $muster_domains ${new_domain_name:-} ${new_domain_search:-})
fi
if [ -n "${new_dhcp6_name_servers:-}" ]; then
  new_dhcp6_name_servers=$(muster_all $new_dhcp6_name_servers)
  new_dhcp6_domain_search=$(muster_once $muster_domains ${new_dhcp6_domain_search:-})
fi
if [ -n "${old_dhcp6_name_servers:-}" ]; then
  old_dhcp6_name_servers=$(muster_all $old_dhcp6_name_servers)
  old_dhcp6_domain_search=$(muster_once $muster_domains ${old_dhcp6_domain_search:-})
fi'
      ;;
    /etc/resolv.conf)
      echo "$begin (resolvconf_mode; what was here before is kept in $kept)"
      line_of_search
      lines_of_servers
      line="options $options"
      for word in $(sed -n 's/^[[:space:]]*options//p' "$kept/file" 2>/dev/null || :); do
        # rotate would ask the others as often as the cluster's.
        case $word in ndots:* | timeout:* | attempts:* | rotate) ;; *) line="$line $word" ;; esac
      done
      echo "$line"
      echo "$end"
      if [ -e "$kept/file" ]; then
        sed '/^[[:space:]]*\(nameserver\|search\|domain\|options\)[[:space:]]/d' "$kept/file"
      fi
      ;;
  esac
}

# Whether everything is as it is to be.
is_in_place() {
  [ -e "$kept/checked" ] && [ ! -e "$kept/new" ] && [ "$(cat "$kept/mechanism")" = "$how" ] && [ -z "$(older)" ] || return 1
  for path in $(targets "$how"); do
    if [ "$path" = /etc/resolv.conf ] && [ -d /etc/dhcp/dhclient-enter-hooks.d ] && leased; then continue; fi
    [ "$(cat "$path" 2>/dev/null)" = "$(text_of "$path")" ] || return 1
  done
}
