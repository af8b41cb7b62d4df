#!/bin/sh
# Run by QEMU in the lab's namespace when it has made a machine's network device, $1: hangs it on the router's bridge.
# The device goes away with QEMU.
exec ip link set dev "$1" master eth0 up
