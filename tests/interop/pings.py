"""Pings from the kernel's side: `python pings.py pinger '{"host": …, "sizes": […]}'`, run by `kernel.py`.

One raw socket for everything, where `ping` would take a process for each size.
"""

import json
import random
import socket
import struct
import sys
import time

PATIENCE = 5.0  # seconds for one reply
HEADER = struct.Struct("!BBHHH")
KINDS = {
    socket.AF_INET: (8, 0, 20),
    socket.AF_INET6: (128, 129, 0),
}  # request, reply, the IP header that comes along


def checksum(data: bytes) -> int:
    total = int.from_bytes(data + bytes(len(data) & 1), "big") % 0xFFFF
    return 0xFFFF - total


def pinger(host: str, sizes: list[int]) -> None:
    """One echo request of each of `sizes` bytes, after the reply to the one before; tells the sizes that went wrong."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    request, reply, skipped = KINDS[family]
    protocol = socket.IPPROTO_ICMPV6 if family == socket.AF_INET6 else socket.IPPROTO_ICMP
    sock = socket.socket(family, socket.SOCK_RAW, protocol)
    for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, buffer, 1 << 20)
    sock.connect((host, 0))
    sock.settimeout(PATIENCE)
    rng, wrong = random.Random(5), {}
    for sequence, size in enumerate(sizes):
        data = rng.randbytes(size)
        message = HEADER.pack(request, 0, 0, 77, sequence) + data
        if family == socket.AF_INET:  # the kernel does it for ICMPv6
            message = HEADER.pack(request, 0, checksum(message), 77, sequence) + data
        sock.send(message)
        until = time.monotonic() + PATIENCE
        try:
            while time.monotonic() < until:
                answer = sock.recv(1 << 17)[skipped:]
                kind, code, _, ident, number = HEADER.unpack_from(answer)
                if (kind, code, ident, number) == (reply, 0, 77, sequence):
                    break
            if answer[8:] != data:
                wrong[size] = f"{len(answer) - 8} bytes came back"
        except TimeoutError:
            wrong[size] = "no reply"
    print(json.dumps({"sent": len(sizes), "wrong": wrong}), flush=True)


if __name__ == "__main__":
    globals()[sys.argv[1]](**json.loads(sys.argv[2]))
