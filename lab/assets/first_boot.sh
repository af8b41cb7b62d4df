# shellcheck shell=sh
# What an installer does: a function that the boot scripts of all kinds of machines call on the first boot.
# install_machine HOSTNAME NAMESERVERS AUTHORIZED_KEY; name servers are separated by spaces.
install_machine() {
    hostname=$1 nameservers=$2 authorized_key=$3
    echo "$hostname" >/etc/hostname
    printf '127.0.0.1 localhost\n127.0.1.1 %s\n::1 localhost ip6-localhost ip6-loopback\n' "$hostname" >/etc/hosts
    : >/etc/resolv.conf
    for server in $nameservers; do
        echo "nameserver $server" >>/etc/resolv.conf
    done
    chmod 0644 /etc/hostname /etc/hosts /etc/resolv.conf
    for user in root admin; do
        home=$(getent passwd "$user" | cut -d: -f6)
        install -d -m 0700 -o "$user" -g "$user" "$home/.ssh"
        echo "$authorized_key" >"$home/.ssh/authorized_keys"
        chown "$user:$user" "$home/.ssh/authorized_keys"
        chmod 0600 "$home/.ssh/authorized_keys"
    done
    # Not `ssh-keygen -A`: finding an RSA key takes seconds on a busy host, and nobody asks for one.
    for type in ed25519 ecdsa; do
        ssh-keygen -q -t "$type" -N '' -C "root@$hostname" -f "/etc/ssh/ssh_host_${type}_key"
    done
}
