#!/bin/bash
# Uplinks of the engine against a real kernel: a TAP driven from its far side, jumbo frames, two links and failover,
# and DPDK devices on a veth.
#
#   uplink.sh ENGINE-HOST [PART...]
#
# Exit 77 (skipped) without root or tools. Everything that it makes is named upl-PID-* or uplPIDx and removed.
set -u
host=$1; shift
parts=("$@"); [ ${#parts[@]} = 0 ] && parts=(tap jumbo two pci)
id=$((BASHPID % 10000)) here=$(dirname "$0")
probe=(/usr/bin/python3 "$here/uplink_probe.py")
for tool in ip ping; do command -v $tool >/dev/null || exit 77; done
/usr/bin/python3 -c 'import scapy.all' 2>/dev/null || exit 77
[ "$(id -u)" = 0 ] && [ -c /dev/net/tun ] && ip netns list >/dev/null 2>&1 || exit 77

work=$(mktemp -d /tmp/upl-XXXXXX) pids=() failed=0
a=fd00:f:1:0:d001:7:0:1 b=fd00:f:2:0:d001:9:0:1
space() { echo "upl-$id-$1"; }
in_space() { local name=$1; shift; ip netns exec "$(space "$name")" "$@"; }
clean() {
	for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null; done
	for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null; done
	for name in h1 h2 v1 v2 f; do ip netns del "$(space $name)" 2>/dev/null; done
	pids=()
}
trap 'clean; rm -rf "$work"' EXIT
check() { # what, then a command
	local what=$1; shift
	if "$@" >"$work/out" 2>&1; then echo "ok   $what"; else echo "FAIL $what"; tail -5 "$work/out"; failed=1; fi
}
same() { # what, found, wanted
	if [ "$2" = "$3" ]; then echo "ok   $1"; else echo "FAIL $1: \"$2\", not \"$3\""; failed=1; fi
}
wait_for() { for _ in $(seq 50); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done; return 1; }
counter() { # host, name: as it is now
	: >"$work/host$1"
	kill -USR1 "${engines[$1]}"
	wait_for grep -q flows.capacity "$work/host$1"
	sleep 0.2
	awk -v name="$2" '$1 == name { value = $2 } END { print value + 0 }' "$work/host$1"
}

declare -A engines
start() { # host, uplinks, MTU
	local i=$1 other=$((3 - $1)) addresses=("" $a $b)
	ip netns exec "$(space "h$i")" "$host" "fd00:f:$i::" "$2" "$3" interface "vtap:upl${id}v$i" 200 "10.0.0.$i" "2001:db8::$i" \
		"${addresses[$i]}" route 200 "10.0.0.$other/32" "${addresses[$other]}" \
		route 200 "2001:db8::$other/128" "${addresses[$other]}" >>"$work/host$i" 2>&1 &
	engines[$i]=$!
	pids+=($!)
	wait_for in_space "h$i" ip link show "upl${id}v$i" || { cat "$work/host$i"; failed=1; return 1; }
	ip netns add "$(space "v$i")"
	ip -n "$(space "h$i")" link set "upl${id}v$i" netns "$(space "v$i")"
	ip -n "$(space "v$i")" link set "upl${id}v$i" mtu "$3" up
	ip -n "$(space "v$i")" addr add "10.0.0.$i/32" dev "upl${id}v$i"
	ip -n "$(space "v$i")" addr add "2001:db8::$i/128" dev "upl${id}v$i" nodad
	ip -n "$(space "v$i")" route add 169.254.0.1 dev "upl${id}v$i"
	ip -n "$(space "v$i")" route add default via 169.254.0.1 dev "upl${id}v$i"
	ip -n "$(space "v$i")" -6 route add default via fe80::1 dev "upl${id}v$i"
}

hear() { # the first overlay frame that a VM's ping brings
	in_space h1 "${probe[@]}" "$1" hear 5 >"$work/heard" 2>"$work/ready" &
	local listener=$!
	wait_for grep -q ready "$work/ready"
	sleep 0.2
	in_space v1 ping -c 2 -i 0.2 -W 1 10.0.0.2 >/dev/null 2>&1
	wait $listener
	cat "$work/heard"
}
ask() { # device, destination MAC, source MAC
	in_space h1 "${probe[@]}" "$1" ask "$2" "$3" $b $a 10.0.0.2 10.0.0.1
}

one_tap() { # options of the uplink
	ip netns add "$(space h1)"
	start 1 "net_tap0=vtap:upl${id}u$1" 1500
}

part_tap() {
	local device=upl${id}u all=ff:ff:ff:ff:ff:ff us=22:22:22:22:22:00
	one_tap ",mac=$us" || return
	same "tap: the first packet goes to everybody, from our MAC" "$(hear $device)" "$all $us $a $b 4 138"
	same "tap: who was heard gets the answer" "$(ask $device $us 66:66:66:66:66:01)" "66:66:66:66:66:01 $us $a $b 4 89"
	same "tap: and what a VM sends" "$(hear $device)" "66:66:66:66:66:01 $us $a $b 4 138"
	same "tap: a frame to any MAC is for us" "$(ask $device 02:99:00:00:00:00 66:66:66:66:66:02)" \
		"66:66:66:66:66:02 $us $a $b 4 89"
	same "tap: nothing was dropped" \
		"$(counter 1 uplink.tx_drops) $(counter 1 vtap.unresolved) $(counter 1 uplink.net_tap0.up)" "0 0 1"
	same "tap: its MTU is that of the engine and the outer header" \
		"$(in_space h1 cat /sys/class/net/$device/mtu)" 1540
	ip -n "$(space h1)" link set $device down; sleep 0.5
	same "tap: a device that is down is a link that is down" "$(counter 1 uplink.net_tap0.up)" 0
	ip -n "$(space h1)" link set $device up; sleep 0.5
	same "tap: and up again" "$(counter 1 uplink.net_tap0.up)" 1
	clean
	one_tap "" || return
	ask $device 02:aa:00:00:00:01 66:66:66:66:66:03 >/dev/null
	same "tap: without a MAC of its own it has the one that it is called by" \
		"$(ask $device 02:aa:00:00:00:01 66:66:66:66:66:03)" "66:66:66:66:66:03 02:aa:00:00:00:01 $a $b 4 89"
	clean
	one_tap ",mac=$us,peer=66:66:66:66:66:0a" || return
	same "tap: a fixed peer gets everything" "$(ask $device $us 66:66:66:66:66:04)" "66:66:66:66:66:0a $us $a $b 4 89"
	clean
	one_tap ",mac=$us,gateway=fe80::99" || return
	ip -n "$(space h1)" -6 neigh add fe80::99 lladdr 66:66:66:66:66:77 dev $device nud permanent
	sleep 1.5
	same "tap: the kernel's neighbour for the gateway gets it" "$(ask $device $us 66:66:66:66:66:05)" \
		"66:66:66:66:66:77 $us $a $b 4 89"
	ip -n "$(space h1)" -6 neigh del fe80::99 lladdr 66:66:66:66:66:77 dev $device
	sleep 1.5
	same "tap: until it is gone" "$(ask $device $us 66:66:66:66:66:05)" "66:66:66:66:66:05 $us $a $b 4 89"
	clean
}

# Two engines in one namespace, their TAPs in a bridge.
part_jumbo() {
	ip netns add "$(space h1)"
	ip netns add "$(space h2)"
	ip netns add "$(space f)"
	start 1 "vtap:upl${id}u1" 9000 && start 2 "vtap:upl${id}u2" 9000 || return
	ip -n "$(space f)" link add bridge mtu 9040 type bridge mcast_snooping 0
	ip -n "$(space f)" link set bridge up
	for i in 1 2; do
		ip -n "$(space h$i)" link set "upl${id}u$i" netns "$(space f)"
		ip -n "$(space f)" link set "upl${id}u$i" mtu 9040 master bridge up
	done
	check "jumbo: a packet of 9000 bytes passes in one piece" in_space v1 ping -c 2 -W 2 -s 8972 -M do 10.0.0.2
	check "jumbo: and over IPv6" in_space v1 ping -c 2 -W 2 -s 8952 -M do 2001:db8::2
	same "jumbo: nothing is cut" "$(counter 1 uplink.tx_errors)" 0
	clean
	for i in 1 2; do ip netns add "$(space h$i)"; done
	ip link add "upl${id}p1" netns "$(space h1)" mtu 9040 type veth peer name "upl${id}p2" netns "$(space h2)" mtu 9040
	for i in 1 2; do ip -n "$(space h$i)" link set "upl${id}p$i" up; done
	start 1 "eth:upl${id}p1" 9000 && start 2 "eth:upl${id}p2" 9000 || return
	check "jumbo: over a network device too" in_space v1 ping -c 2 -W 2 -s 8972 -M do 10.0.0.2
	clean
}

# Two veth pairs between two hosts.
part_two() {
	for i in 1 2; do ip netns add "$(space h$i)"; done
	for link in p q; do
		ip link add "upl${id}${link}1" netns "$(space h1)" mtu 1600 type veth \
			peer name "upl${id}${link}2" netns "$(space h2)" mtu 1600
		for i in 1 2; do ip -n "$(space h$i)" link set "upl${id}${link}$i" up; done
	done
	start 1 "pf0=eth:upl${id}p1 pf1=eth:upl${id}q1" 1500 && start 2 "pf0=eth:upl${id}p2 pf1=eth:upl${id}q2" 1500 || return
	check "two: ping of IPv4" in_space v1 ping -c 3 -i 0.2 -W 2 10.0.0.2
	check "two: ping of IPv6" in_space v1 ping -c 3 -i 0.2 -W 2 2001:db8::2
	for address in 10.0.0.2 2001:db8::2; do
		in_space v1 bash -c "for port in \$(seq 5000 5063); do echo x >/dev/udp/$address/\$port; done" 2>/dev/null
	done
	local first second
	sleep 1
	first=$(counter 1 uplink.pf0.tx_packets) second=$(counter 1 uplink.pf1.tx_packets)
	check "two: both carry flows ($first and $second packets)" test "$first" -gt 30 -a "$second" -gt 30
	for family in 10.0.0.2 2001:db8::2; do
		for link in p q; do
			in_space v1 ping -c 60 -i 0.05 -W 1 $family >"$work/ping" &
			local ping=$!
			sleep 1
			ip -n "$(space h1)" link set "upl${id}${link}1" down
			wait $ping
			local got
			got=$(grep -o '[0-9]* received' "$work/ping")
			# A tick of each host is at most two packets each way; the flow may be on the other link.
			check "two: ${link} of host 1 is cut under a ping of $family: ${got} of 60" \
				test "${got% *}" -ge 54
			ip -n "$(space h1)" link set "upl${id}${link}1" up
			sleep 0.7
		done
	done
	same "two: both are up again" "$(counter 1 uplink.pf0.up)$(counter 1 uplink.pf1.up)" 11
	clean
}

# DPDK's packet-socket driver on a veth: one host with it, the other with a packet socket of its own.
part_pci() {
	for i in 1 2; do ip netns add "$(space h$i)"; done
	for link in p q; do
		ip link add "upl${id}${link}1" netns "$(space h1)" mtu 1600 type veth \
			peer name "upl${id}${link}2" netns "$(space h2)" mtu 1600
		for i in 1 2; do
			ip -n "$(space h$i)" link set "upl${id}${link}$i" up
			# What the kernel leaves to a device, this driver does not carry.
			in_space h$i ethtool -K "upl${id}${link}$i" tx off tso off gso off >/dev/null 2>&1
		done
	done
	start 1 "pf0=pci:net_af_packet0,iface=upl${id}p1 pf1=pci:net_af_packet1,iface=upl${id}q1,weight=2" 1500 &&
		start 2 "pf0=eth:upl${id}p2 pf1=eth:upl${id}q2" 1500 || return
	check "pci: ping of IPv4" in_space v1 ping -c 3 -i 0.2 -W 2 10.0.0.2
	check "pci: ping of IPv6" in_space v1 ping -c 3 -i 0.2 -W 2 2001:db8::2
	# This driver's longest frame lowers the MTU to 1460.
	check "pci: a full-size packet passes" in_space v1 ping -c 1 -W 2 -s 1432 -M do 10.0.0.2
	in_space v1 ping -c 1 -W 1 -s 1433 -M do 10.0.0.2 >/dev/null 2>&1
	check "pci: a longer one teaches the path's MTU" \
		sh -c "ip -n $(space v1) route get 10.0.0.2 | grep -q 'mtu 1460'"
	if command -v iperf3 >/dev/null; then
		ip netns exec "$(space v2)" iperf3 -s -1 >/dev/null 2>&1 &
		pids+=($!)
		sleep 0.3
		check "pci: TCP, cut in software" in_space v1 iperf3 -c 10.0.0.2 -t 1
		grep receiver "$work/out"
	fi
	in_space v1 ping -c 60 -i 0.05 -W 1 10.0.0.2 >"$work/ping" &
	local ping=$!
	sleep 1
	ip -n "$(space h2)" link set "upl${id}p2" down
	wait $ping
	local got
	got=$(grep -o '[0-9]* received' "$work/ping")
	check "pci: a link without carrier is left: ${got} of 60" test "${got% *}" -ge 54
	same "pci: and is said to be down" "$(counter 1 uplink.pf0.up)$(counter 1 uplink.pf1.up)" 01
	same "pci: no frame had an error" "$(counter 1 uplink.tx_errors)" 0
	clean
	# An access port of DPDK's on a veth, whose other end is the VM.
	ip netns add "$(space h1)"
	ip netns add "$(space v1)"
	ip link add "upl${id}a" netns "$(space h1)" type veth peer name "upl${id}v1" netns "$(space v1)"
	ip -n "$(space h1)" link set "upl${id}a" up
	ip -n "$(space v1)" link set "upl${id}v1" up
	ip netns exec "$(space h1)" "$host" fd00:f:1:: none 1500 \
		interface "pci:net_af_packet5,iface=upl${id}a" 200 10.0.0.1 2001:db8::1 \
		interface "vtap:upl${id}v2" 200 10.0.0.2 2001:db8::2 >>"$work/host1" 2>&1 &
	pids+=($!)
	wait_for in_space h1 ip link show "upl${id}v2"
	ip netns add "$(space v2)"
	ip -n "$(space h1)" link set "upl${id}v2" netns "$(space v2)"
	for i in 1 2; do
		ip -n "$(space v$i)" link set "upl${id}v$i" up
		ip -n "$(space v$i)" addr add "10.0.0.$i/32" dev "upl${id}v$i"
		ip -n "$(space v$i)" route add 169.254.0.1 dev "upl${id}v$i"
		ip -n "$(space v$i)" route add default via 169.254.0.1 dev "upl${id}v$i"
		in_space v$i ethtool -K "upl${id}v$i" tx off >/dev/null 2>&1
	done
	check "pci: an access port answers and delivers" in_space v1 ping -c 3 -i 0.2 -W 2 10.0.0.2
	clean
}

# Two hosts over the wire, TCP with 1 and 8 streams, one way and both: throughput, retransmits, and what a full ring did.
part_wire() {
	command -v iperf3 >/dev/null || return
	for i in 1 2; do ip netns add "$(space h$i)"; done
	start 1 "wire:$work/wire" "${MTU:-1500}" && start 2 "wire:$work/wire" "${MTU:-1500}" || return
	for options in "-P 1" "-P 8" "-P 4 --bidir"; do
		ip netns exec "$(space v2)" iperf3 -s -1 >/dev/null 2>&1 &
		pids+=($!)
		sleep 0.3
		# shellcheck disable=SC2086
		check "wire: TCP $options" in_space v1 iperf3 -c 10.0.0.2 -t "${SECONDS_EACH:-2}" $options
		grep -E "SUM|sender|receiver" "$work/out" | grep -E "sender|receiver" | tail -4
		echo "     full $(counter 1 wire.full)+$(counter 2 wire.full), waited $(counter 1 wire.waited)+$(counter 2 wire.waited)," \
			"dropped $(counter 1 uplink.tx_drops)+$(counter 2 uplink.tx_drops)"
	done
	clean
}

for part in "${parts[@]}"; do "part_$part"; done
exit $failed
