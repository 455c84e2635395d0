#!/usr/bin/python3
"""The fabric at the far end of a TAP or veth: sends outer frames, and says what came.

  uplink_probe.py DEVICE ask DESTINATION-MAC SOURCE-MAC OUTER-SOURCE OUTER-DESTINATION INNER-SOURCE INNER-DESTINATION
  uplink_probe.py DEVICE hear SECONDS

ask: an echo request inside IPv4-in-IPv6; prints the first overlay frame with an echo reply.
hear: prints the first overlay frame that comes.
Printed: destination MAC, source MAC, outer source, outer destination, next header, length.
"""
import logging
import sys

logging.getLogger("scapy").setLevel(logging.ERROR)

from scapy.all import ICMP, IP, AsyncSniffer, Ether, IPv6, conf, sendp

conf.verb = 0
device, what = sys.argv[1:3]


def overlay(frame):
    if IPv6 not in frame or frame[IPv6].nh not in (4, 41):
        return False
    return what == "hear" or (ICMP in frame and frame[ICMP].type == 0)


def ask():
    to, own, outer_source, outer_destination, source, destination = sys.argv[3:9]
    sendp(
        Ether(dst=to, src=own)
        / IPv6(src=outer_source, dst=outer_destination, nh=4)
        / IP(src=source, dst=destination)
        / ICMP(id=7, seq=1)
        / b"ferrite",
        iface=device,
    )


sniffer = AsyncSniffer(
    iface=device,
    lfilter=overlay,
    count=1,
    timeout=float(sys.argv[3]) if what == "hear" else 5,
    started_callback=ask if what == "ask" else lambda: print("ready", file=sys.stderr, flush=True),
)
sniffer.start()
sniffer.join()
for frame in sniffer.results:
    outer = frame[IPv6]
    print(frame.dst, frame.src, outer.src, outer.dst, outer.nh, len(frame))
