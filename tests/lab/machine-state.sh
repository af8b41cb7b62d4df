# What a machine is like, a line for each thing, to be compared with what it was like before: files, units, interfaces, rules of
# the packet filter, mounts, users, kernel parameters. What changes by itself or is muster's note of its runs is left out.
find /etc /usr/local /opt /root /home /srv /usr/lib/modules /usr/libexec /var/lib \
  \( -path /var/lib/muster -o -path '/var/lib/systemd/*' -o -path /var/lib/private -o -path '/etc/*-' -o -path '/etc/.pwd.lock' \) \
  -prune -o -printf 'file %p %y %m %l\n' | sort
find /etc -type f ! -path '/etc/*-' ! -name ld.so.cache -exec sha256sum {} + | sort -k 2
systemctl list-unit-files --no-legend --no-pager | grep -v '\.scope ' | sort
systemctl list-units --type=service --state=active --no-legend --no-pager --plain | awk '{ print "runs " $1 }' |
  grep -vE 'user@|user-runtime-dir|session|systemd-hostnamed|systemd-tmpfiles|run-' | sort
for path in /sys/class/net/*; do echo "interface ${path##*/}"; done
ip -4 route show | sort
# A table without a rule means nothing: whoever looks into it makes it.
for command in iptables ip6tables; do
  "$command-save" | awk -v command="$command" '
    /^\*/ { table = $0 }
    /^-A/ || /^:[^ ]* (-|DROP|REJECT)/ { sub(/ *\[[0-9:]*\]$/, ""); print command, table, $0 }'
done
nft list tables | grep -vE ' ip6? (filter|nat|mangle|raw|security)$' | sort
ipset list -n 2>/dev/null | sort
awk '{ print "mount " $5 }' /proc/self/mountinfo | grep -v '^mount /run/user/' | sort
cat /etc/passwd /etc/group
cat /proc/sys/kernel/hostname
for name in net/ipv4/ip_forward net/ipv4/ip_local_reserved_ports net/bridge/bridge-nf-call-iptables; do
  echo "$name $(cat /proc/sys/$name)"
done
