"""One run: two ends and the link between them, started, measured, ended."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from asyncstack.link.attach import IFF_TUN, attach
from tests.netns import NetworkNamespace

ROOT: Final = Path(__file__).resolve().parents[3]
RATE: Final = 100e6  # bit/s
SMALLEST_QUEUE: Final = 64 << 10  # bytes
ADDRESSES: Final = ("10.7.0.1", "10.7.0.2")  # of who sends, of who receives
DEVICE: Final = "lossy0"
KERNEL, STACK = "kernel", "asyncstack"
START: Final = 20.0  # seconds for a process to get ready
PATIENCE: Final = 75.0  # seconds beyond the measurement for the handshake


class RunError(Exception):
    """A run went wrong; the text says how."""


@dataclass(frozen=True)
class Pairing:
    """Who sends to whom, under which congestion control of the sender."""

    sender: str
    receiver: str
    congestion: str

    def __str__(self) -> str:
        return f"{self.sender} > {self.receiver} {self.congestion}"


@dataclass(frozen=True)
class Cell:
    """The conditions. `trip` is the round-trip time without a queue, in seconds."""

    loss: float
    trip: float

    def __str__(self) -> str:
        return f"{self.loss:6.1%} {self.trip * 1e3:6g} ms"

    def link(self, seed: int) -> dict[str, Any]:
        """The link's options."""
        queue = max(int(RATE * self.trip / 8), SMALLEST_QUEUE)
        return {"delay": self.trip / 2, "loss": self.loss, "rate": RATE, "queue": queue, "seed": seed}


@dataclass(frozen=True)
class Run:
    """What came out: goodput in Mbit/s; CPU of the link as a share of one; what it saw."""

    goodput: float
    link_cpu: float
    receiver_cpu: float  # seconds
    seen: dict[str, Any]


def measure(pairing: Pairing, cell: Cell, seed: int, seconds: float) -> Run:
    """Raises RunError, OSError."""
    with contextlib.ExitStack() as stack:
        fds, ends = [], []
        for kind, address in zip((pairing.sender, pairing.receiver), ADDRESSES, strict=True):
            namespace, fd, far_fd = _open_end(kind, address, stack)
            fds.append(fd)
            ends.append((kind, namespace, far_fd))
        link = stack.enter_context(_process("link", {"fds": fds, **cell.link(seed)}, fds))
        _line(link, START, "the link")
        common = {"congestion": pairing.congestion, "seconds": seconds}
        receiver = stack.enter_context(_end(*ends[1], "receives", *ADDRESSES[::-1], common))
        _line(receiver, START, "the receiver")
        stack.enter_context(_end(*ends[0], "sends", *ADDRESSES, common))
        result = json.loads(_line(receiver, seconds + PATIENCE, "the receiver"))
        assert link.stdin is not None
        link.stdin.close()
        seen = json.loads(_line(link, START, "the link"))
    goodput = result["bytes"] * 8 / seconds / 1e6
    return Run(goodput, seen["cpu"], result["cpu"], seen)


def _open_end(
    kind: str, address: str, stack: contextlib.ExitStack
) -> tuple[NetworkNamespace | None, int, int]:
    """(namespace of the end, the link's fd, the end's own fd or -1)."""
    if kind == STACK:
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for sock in (near, far):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            stack.callback(sock.close)
        return None, near.fileno(), far.fileno()
    namespace = stack.enter_context(NetworkNamespace())
    with namespace.entered():
        fd = attach(DEVICE, IFF_TUN, offload=False).fd
        stack.callback(os.close, fd)
        # no router solicitation may take a number in the loss sequence
        Path(f"/proc/sys/net/ipv6/conf/{DEVICE}/disable_ipv6").write_text("1")
    namespace.run("ip", "addr", "add", f"{address}/24", "dev", DEVICE)
    namespace.run("ip", "link", "set", DEVICE, "mtu", "1500", "txqueuelen", "1000", "up")
    return namespace, fd, -1


@contextlib.contextmanager
def _end(
    kind: str,
    namespace: NetworkNamespace | None,
    fd: int,
    role: str,
    own: str,
    peer: str,
    common: dict[str, Any],
) -> Iterator[subprocess.Popen[bytes]]:
    options = {"kind": kind, "role": role, "own": own, "peer": peer, "fd": fd, **common}
    with contextlib.ExitStack() as stack:
        if namespace is not None:
            stack.enter_context(namespace.entered())
        process = _process("end", options, [fd] if fd >= 0 else [])
        started = process.__enter__()
    try:
        yield started
    finally:
        process.__exit__(None, None, None)


@contextlib.contextmanager
def _process(module: str, options: dict[str, Any], fds: list[int]) -> Iterator[subprocess.Popen[bytes]]:
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-m", f"tests.bench.loss.{module}", json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            pass_fds=fds,
            cwd=ROOT,
            start_new_session=True,
        )
        process.said = said  # type: ignore[attr-defined]
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()


def _line(process: subprocess.Popen[bytes], patience: float, who: str) -> bytes:
    """The next line of its output."""
    assert process.stdout is not None
    until = time.monotonic() + patience
    line = b""
    while not line.endswith(b"\n"):
        if not select.select([process.stdout], [], [], max(until - time.monotonic(), 0.0))[0]:
            raise RunError(f"{who} said nothing for {patience:g} s: {_last_words(process)}")
        data = os.read(process.stdout.fileno(), 65536)
        if not data:
            raise RunError(f"{who} has ended: {_last_words(process)}")
        line += data
    return line


def _last_words(process: subprocess.Popen[bytes]) -> str:
    said: IO[bytes] = process.said  # type: ignore[attr-defined]
    said.seek(0)
    lines = said.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no word of why"
