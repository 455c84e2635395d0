#!/usr/bin/env python3
"""Traffic of a test, in the network namespace that it is started in.

    echo PORT                    answers UDP and TCP on PORT; says "ready"
    udp HOST PORT SECONDS MS     a numbered datagram every MS milliseconds; says what came back, as JSON
    tcp HOST PORT SECONDS        one connection, a numbered line every 5 ms; says how many came back, as JSON
    try udp|tcp HOST PORT        one exchange within two seconds: "yes" or "no"
"""
import json
import selectors
import socket
import struct
import sys
import threading
import time


def echo(port):
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("0.0.0.0", port))
    tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    tcp.bind(("0.0.0.0", port))
    tcp.listen(16)
    choice = selectors.DefaultSelector()
    choice.register(udp, selectors.EVENT_READ)
    choice.register(tcp, selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        for key, _ in choice.select():
            if key.fileobj is udp:
                data, peer = udp.recvfrom(2048)
                udp.sendto(data, peer)
            elif key.fileobj is tcp:
                connection, _ = tcp.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                choice.register(connection, selectors.EVENT_READ)
            else:
                try:
                    data = key.fileobj.recv(65536)
                except OSError:
                    data = b""
                if data:
                    key.fileobj.sendall(data)
                else:
                    choice.unregister(key.fileobj)
                    key.fileobj.close()


def udp(host, port, seconds, millis):
    link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    link.connect((host, port))
    link.settimeout(0.2)
    count = int(seconds * 1000 / millis)
    seen = {}
    over = threading.Event()

    def listen():
        while True:
            try:
                number, = struct.unpack("!I", link.recv(64))
                seen[number] = time.monotonic()
            except socket.timeout:
                if over.is_set():
                    return
            except OSError:
                continue

    listener = threading.Thread(target=listen)
    listener.start()
    begin = time.monotonic()
    sent = {}
    for number in range(count):
        due = begin + number * millis / 1000
        rest = due - time.monotonic()
        if rest > 0:
            time.sleep(rest)
        sent[number] = time.monotonic()
        try:
            link.send(struct.pack("!I", number))
        except OSError:
            pass
    over.set()
    listener.join()
    lost = [number for number in range(count) if number not in seen]
    runs, longest = [], 0
    for number in lost:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    # From the last that was sent and came back before a run to the first one after it.
    gaps = [round(1000 * (sent.get(last + 1, sent[last]) - sent.get(first - 1, sent[first])), 2) for first, last in runs]
    slowest = max((seen[n] - sent[n] for n in seen), default=0)
    print(json.dumps({"sent": count, "lost": len(lost), "gaps": gaps, "slowest": round(1000 * slowest, 2)}), flush=True)


def tcp(host, port, seconds):
    link = socket.create_connection((host, port), timeout=5)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link.settimeout(10)
    print("connected", flush=True)
    end = time.monotonic() + seconds
    number, slowest = 0, 0.0
    while time.monotonic() < end:
        line = b"%08d\n" % number
        began = time.monotonic()
        link.sendall(line)
        got = b""
        while len(got) < len(line):
            more = link.recv(len(line) - len(got))
            if not more:
                print(json.dumps({"lines": number, "ended": True}), flush=True)
                return
            got += more
        assert got == line, (got, line)
        slowest = max(slowest, time.monotonic() - began)
        number += 1
        time.sleep(0.005)
    print(json.dumps({"lines": number, "ended": False, "slowest": round(1000 * slowest, 2)}), flush=True)


def attempt(kind, host, port):
    link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
    link.settimeout(2)
    try:
        link.connect((host, port))
        link.send(b"x")
        print("yes" if link.recv(1) == b"x" else "no")
    except OSError:
        print("no")


if sys.argv[1] == "echo":
    echo(int(sys.argv[2]))
elif sys.argv[1] == "udp":
    udp(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5]))
elif sys.argv[1] == "tcp":
    tcp(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
else:
    attempt(sys.argv[2], sys.argv[3], int(sys.argv[4]))
