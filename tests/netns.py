"""Network namespaces, so that no test touches the interfaces of the machine.

A test marked `tun` runs in a fresh one (fixture `netns` in conftest.py), and so does what it starts: a process
or thread inherits the namespace of the thread that makes it. A thread that was there before (a worker of an
executor) keeps its own.
"""

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *args: int) -> None:
    if getattr(_libc, name)(*args):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _current() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY)


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        fcntl.ioctl(probe, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", IFF_UP))


def check_addresses(checked: bool = True) -> None:
    """Whether the kernel first looks for duplicates of the IPv6 addresses of interfaces made from now on, in the
    namespace of the calling thread. Until it has, which takes a second or two, it can ask nobody from them."""
    with suppress(OSError):  # no IPv6; or /proc/sys can not be written to, as in Docker: then it takes longer
        Path("/proc/sys/net/ipv6/conf/default/accept_dad").write_text(str(int(checked)))


class NetworkNamespace:
    """A network namespace with nothing but `lo`, which is up. It lasts until it is closed and nobody is inside.

    The kernel uses its IPv6 addresses at once, unless `check_addresses` says otherwise.
    """

    def __init__(self) -> None:
        """Make one; the caller stays where it is. Raises OSError (EPERM) without CAP_SYS_ADMIN."""
        before = _current()
        try:
            _call("unshare", CLONE_NEWNET)
            try:
                _loopback_up()
                check_addresses(False)
                self.fd = _current()
            finally:
                _call("setns", before, CLONE_NEWNET)
        finally:
            os.close(before)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread, and what it starts, is inside. A socket stays in the namespace it was made in."""
        before = _current()
        try:
            _call("setns", self.fd, CLONE_NEWNET)
            yield
        finally:
            _call("setns", before, CLONE_NEWNET)
            os.close(before)

    def run(self, *command: str) -> str:
        """Run a program inside to its end and return what it printed. Raises CalledProcessError."""
        with self.entered():
            done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        if done.returncode:
            raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
        return done.stdout

    def close(self) -> None:
        os.close(self.fd)

    def __enter__(self) -> "NetworkNamespace":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def enter(namespace: int) -> None:
    """Have the calling thread in the network namespace that a descriptor is of, for good. Raises OSError."""
    _call("setns", namespace, CLONE_NEWNET)


def enter_user_namespace() -> None:
    """Make the whole process root in a user and network namespace of its own, for good, as `unshare -Urn` does.

    Raises OSError: EINVAL once the process has threads, EPERM where user namespaces are forbidden.
    """
    uid, gid = os.getuid(), os.getgid()
    _call("unshare", CLONE_NEWUSER | CLONE_NEWNET)
    with suppress(FileNotFoundError):
        Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    _loopback_up()


def leave_root() -> None:
    """Have the whole process take itself for a user who is not root, for programs that insist: it has another number
    in a user namespace of its own. Files stay whose they are. Raises OSError, EINVAL once the process has threads."""
    uid, gid = os.getuid(), os.getgid()
    _call("unshare", CLONE_NEWUSER)
    with suppress(FileNotFoundError):
        Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"1000 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"1000 {gid} 1")


def why_unavailable() -> str:
    """Why tests with a TUN or TAP can not run here; "" if they can."""
    from asyncstack.link.attach import IFF_TUN, attach

    try:
        with NetworkNamespace() as namespace, namespace.entered():
            os.close(attach("", IFF_TUN, offload=False).fd)
    except OSError as exc:
        return f"no TUN in a network namespace: {exc.strerror}"
    return ""
