#!/usr/bin/env python3
"""Carries Ethernet frames between a test and TAP devices, over stdin and stdout.

Lives in a network namespace of its own, without IPv6, so that no kernel stack answers or speaks on the devices
that are moved into it. A message is a 32-bit length and that many bytes, the first of them its kind:

    in   A name             open the device, set it up        out  A name            it is open
    in   F len name frame   the VM on the device sends        out  F len name frame  the VM on the device is sent
    in   D name             forget the device                 out  E text            something failed
                                                              out  R                 ready, sent once
"""
import ctypes
import fcntl
import os
import selectors
import socket
import struct
import sys

CLONE_NEWNET = 0x40000000
ETH_P_ALL = 3
SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCSIFMTU = 0x8913, 0x8914, 0x8922
IFF_UP = 1
PACKET_OUTGOING = 4

libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(CLONE_NEWNET) != 0:
    sys.exit("unshare: " + os.strerror(ctypes.get_errno()))
for scope in ("all", "default"):
    with open(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6", "w") as setting:
        setting.write("1")

selector = selectors.DefaultSelector()
sockets = {}
pending = b""


def say(kind, body=b""):
    message = struct.pack("!I", len(body) + 1) + kind + body
    while message:
        message = message[os.write(1, message):]


def attach(name):
    device = name.decode()
    forget(name)
    control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    request = struct.pack("16sh14x", name, 0)
    flags = struct.unpack("16sh14x", fcntl.ioctl(control, SIOCGIFFLAGS, request))[1]
    fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", name, flags | IFF_UP))
    # A guest may set what it likes, and send longer packets than it was told.
    fcntl.ioctl(control, SIOCSIFMTU, struct.pack("16si12x", name, 9000))
    control.close()
    port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    port.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    port.bind((device, ETH_P_ALL))
    port.setblocking(False)
    sockets[name] = port
    selector.register(port, selectors.EVENT_READ, name)
    say(b"A", name)


def forget(name):
    port = sockets.pop(name, None)
    if port is not None:
        selector.unregister(port)
        port.close()


def obey(message):
    kind, body = message[:1], message[1:]
    if kind == b"A":
        attach(body)
    elif kind == b"D":
        forget(body)
    elif kind == b"F":
        name, frame = body[1:1 + body[0]], body[1 + body[0]:]
        if name in sockets:
            sockets[name].send(frame)
        else:
            say(b"E", b"no device " + name)


def read_commands():
    global pending
    chunk = os.read(0, 1 << 16)
    if not chunk:
        sys.exit(0)
    pending += chunk
    while len(pending) >= 4:
        (length,) = struct.unpack("!I", pending[:4])
        if len(pending) < 4 + length:
            break
        message, pending = pending[4:4 + length], pending[4 + length:]
        try:
            obey(message)
        except OSError as error:
            say(b"E", f"{message[:1].decode()} {message[1:20]!r}: {error}".encode())


def read_frames(name):
    for _ in range(64):
        port = sockets.get(name)
        if port is None:
            return
        try:
            frame, address = port.recvfrom(1 << 17)
        except BlockingIOError:
            return
        except OSError:
            forget(name)
            return
        if address[2] != PACKET_OUTGOING:
            say(b"F", bytes([len(name)]) + name + frame)


selector.register(0, selectors.EVENT_READ, None)
say(b"R")
while True:
    for key, _ in selector.select():
        if key.data is None:
            read_commands()
        else:
            read_frames(key.data)
