#!/bin/bash
# Two engines with TAPs in namespaces, over the wire and over a veth pair: ping, size, DHCP, TCP.
#
#   end_to_end.sh ENGINE-HOST [seconds of iperf3; 0: none]
#
# Exit 77 (skipped) without root or tools. Everything that it makes is named fe-eng-PID-* or feePIDx and removed.
set -u
host=$1 seconds=${2:-0} id=$((BASHPID % 10000))
for tool in ip ping dhclient tcpdump; do command -v $tool >/dev/null || exit 77; done
[ "$(id -u)" = 0 ] && [ -c /dev/net/tun ] && ip netns list >/dev/null 2>&1 || exit 77

work=$(mktemp -d /tmp/fe-eng-XXXXXX) pids=() failed=0
a=fd00:f:1:0:d001:7:0:1 b=fd00:f:2:0:d001:9:0:1
space() { echo "fe-eng-$id-$1"; }
clean() {
	for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null; done
	for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null; done
	for name in h1 h2 v1 v2; do ip netns del "$(space $name)" 2>/dev/null; done
	pids=()
}
trap 'clean; rm -rf "$work"' EXIT
check() { # what, then a command
	local what=$1; shift
	if "$@" >"$work/out" 2>&1; then echo "ok   $what"; else echo "FAIL $what"; tail -5 "$work/out"; failed=1; fi
}
in_space() { local name=$1; shift; ip netns exec "$(space "$name")" "$@"; }
wait_for() { for _ in $(seq 100); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done; return 1; }

start() { # uplink of host 1 and of host 2
	local uplinks=("$1" "$2") own other addresses=($a $b)
	for i in 1 2; do
		own=${addresses[i - 1]} other=${addresses[2 - i]}
		# Not through a function: what is killed must be the engine itself, not a shell around it.
		ip netns exec "$(space h$i)" "$host" "fd00:f:$i::" "${uplinks[i - 1]}" 1500 \
			interface "vtap:fee${id}v$i" 200 10.0.0.$i 2001:db8::$i $own \
			route 200 10.0.0.$((3 - i))/32 $other route 200 2001:db8::$((3 - i))/128 $other >"$work/host$i" 2>&1 &
		pids+=($!)
	done
	for i in 1 2; do
		local device=fee${id}v$i
		wait_for in_space h$i ip link show "$device" || { cat "$work/host$i"; exit 1; }
		ip netns add "$(space v$i)"
		ip -n "$(space h$i)" link set "$device" netns "$(space v$i)"
		ip -n "$(space v$i)" link set "$device" up
		ip -n "$(space v$i)" addr add 10.0.0.$i/32 dev "$device"
		ip -n "$(space v$i)" addr add 2001:db8::$i/128 dev "$device" nodad
		ip -n "$(space v$i)" route add 169.254.0.1 dev "$device"
		ip -n "$(space v$i)" route add default via 169.254.0.1 dev "$device"
		ip -n "$(space v$i)" -6 route add default via fe80::1 dev "$device"
	done
}

exchange() {
	check "$1: ping of IPv4" in_space v1 ping -c 3 -i 0.2 -W 2 10.0.0.2
	check "$1: ping of IPv6" in_space v1 ping -c 3 -i 0.2 -W 2 2001:db8::2
	check "$1: the gateway answers" in_space v1 ping -c 1 -W 2 169.254.0.1
	check "$1: a full-size packet passes" in_space v1 ping -c 1 -W 2 -s 1472 -M do 10.0.0.2
	ip -n "$(space v1)" link set "fee${id}v1" mtu 3000
	in_space v1 ping -c 1 -W 1 -s 2000 -M do 10.0.0.2 >/dev/null 2>&1
	check "$1: a too long one teaches the path's MTU" sh -c "ip -n $(space v1) route get 10.0.0.2 | grep -q 'mtu 1500'"
	ip -n "$(space v1)" link set "fee${id}v1" mtu 1500
	[ "$seconds" = 0 ] && return
	ip netns exec "$(space v2)" iperf3 -s -1 >/dev/null 2>&1 &
	pids+=($!)
	sleep 0.5
	check "$1: TCP" in_space v1 iperf3 -c 10.0.0.2 -t "$seconds"
	grep receiver "$work/out"
}

settled() { # dhclient asks from the link-local address, which is tentative for a second or two
	in_space v1 ip -6 addr show dev "fee${id}v1" scope link | grep -q inet6 &&
		! in_space v1 ip -6 addr show dev "fee${id}v1" tentative | grep -q inet6
}

lease() { # family, line of the script's environment that must appear
	printf '#!/bin/sh\nenv >>%s/lease\n' "$work" >"$work/script"
	chmod +x "$work/script"
	ip netns exec "$(space v1)" timeout 20 dhclient "$1" -1 -d -sf "$work/script" -lf "$work/leases" -pf "$work/pid" "fee${id}v1" \
		>"$work/dhclient" 2>&1 &
	local client=$!
	wait_for grep -qx "$2" "$work/lease"
	local status=$?
	kill $client 2>/dev/null; wait $client 2>/dev/null
	return $status
}

for name in h1 h2; do ip netns add "$(space $name)"; done
start "wire:$work/wire" "wire:$work/wire"
exchange wire
check "wire: a DHCPv4 lease" lease -4 new_ip_address=10.0.0.1
wait_for settled
check "wire: a DHCPv6 lease" lease -6 new_ip6_address=2001:db8::1
clean

for name in h1 h2; do ip netns add "$(space $name)"; done
ip link add "fee${id}u1" netns "$(space h1)" mtu 1600 type veth peer name "fee${id}u2" netns "$(space h2)" mtu 1600
for i in 1 2; do ip -n "$(space h$i)" link set "fee${id}u$i" up; done
start "eth:fee${id}u1" "eth:fee${id}u2"
ip netns exec "$(space h2)" timeout 20 tcpdump -l -n -v -c 6 -i "fee${id}u2" 'ip6 proto 4 or ip6 proto 41' >"$work/tcpdump" 2>&1 &
pids+=($!)
sleep 1
exchange eth
check "eth: the underlay sees IPv4 in IPv6" wait_for grep -Eq "next-header IPIP.*$a > $b" "$work/tcpdump"
exit $failed
