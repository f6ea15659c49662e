#!/bin/sh
# First process of a lab: underlay.sh SCRATCH
#
# Makes the network between the nodes, which is also where the outside client
# lives, then waits for the end of its input. The controller holds the other end:
# whichever way that dies, this process ends, and with it the pid namespace and
# everything in it.
set -eu
# What the host mounts later, the client sees too; what we mount, the host does not.
mount --make-rslave /
mount -t tmpfs -o mode=755 skein-lab "$1"

ip link set lo up
ip link add ul0 address 02:77:00:00:00:fe type bridge stp_state 0 forward_delay 0
ip addr add 192.168.77.254/24 dev ul0
ip link set ul0 up
echo 1 >/proc/sys/net/ipv4/ip_forward

# Faults between the nodes. A cut link is a pair of ports; "client" is the bridge itself.
nft -f - <<'RULES'
table bridge lab {
	set cut { type ifname . ifname; }
	set cut_client { type ifname; }
	set dropped_udp { type inet_service; }
	set dropped_udp_way { type ifname . ifname . inet_service; }
	chain narrow {
	}
	chain forward {
		type filter hook forward priority 0; policy accept;
		iifname . oifname @cut drop
		udp dport @dropped_udp drop
		iifname . oifname . udp dport @dropped_udp_way drop
		jump narrow
	}
	chain input {
		type filter hook input priority 0; policy accept;
		iifname @cut_client drop
	}
	chain output {
		type filter hook output priority 0; policy accept;
		oifname @cut_client drop
	}
}
RULES

echo ready
exec 3<&0
cat <&3 >/dev/null &
# In wait, the shell reaps the orphans of the namespace too.
wait $!
