# shellcheck shell=sh
# What tells virtual machines of one image apart: run by lab-boot.service on each boot, before network and sshd, after
# the function of first_boot.sh. The kernel's arguments are the machine's own: lab.hostname, lab.address (with the
# length of the prefix), lab.router, lab.nameservers, lab.authorized_key; commas in them stand for spaces.
set -eu

# The value of an argument of the kernel.
argument() {
    tr ' ' '\n' </proc/cmdline | sed -n "s/^lab\.$1=//p" | tr ',' ' '
}

mkdir -p /run/systemd/network
printf '[Match]\nName=eth0\n\n[Network]\nAddress=%s\nGateway=%s\n' "$(argument address)" "$(argument router)" \
    >/run/systemd/network/10-lab.network

# The host keys are what a first boot makes last.
if [ ! -s /etc/ssh/ssh_host_ecdsa_key.pub ]; then
    rm -f /etc/ssh/ssh_host_*
    install_machine "$(argument hostname)" "$(argument nameservers)" "$(argument authorized_key)"
    hostname "$(argument hostname)"
fi
