"""From a name to a file descriptor on a TUN or TAP: /dev/net/tun, its ioctls, and what their errors mean."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from dataclasses import dataclass
from typing import Final, NoReturn

# linux/if_tun.h, linux/if.h. The numbers are those of asm-generic (x86, ARM, RISC-V, s390).
TUNSETIFF: Final = 0x400454CA
TUNSETOFFLOAD: Final = 0x400454D0
TUNGETIFF: Final = 0x800454D2
TUNSETVNETHDRSZ: Final = 0x400454D8
IFF_TUN: Final = 0x0001
IFF_TAP: Final = 0x0002
IFF_MULTI_QUEUE: Final = 0x0100
IFF_PERSIST: Final = 0x0800
IFF_NO_PI: Final = 0x1000
IFF_VNET_HDR: Final = 0x4000
TUN_F_CSUM: Final = 0x01
TUN_F_TSO4: Final = 0x02
TUN_F_TSO6: Final = 0x04
TUN_F_TSO_ECN: Final = 0x08

# What the kernel may leave undone in frames to us; older kernels refuse the later bits.
OFFLOADS: Final = (
    TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN,
    TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6,
    TUN_F_CSUM,
    0,
)
VNET_HEADER: Final = 10
NAME_LIMIT: Final = 15
CLONE_DEVICE: Final = "/dev/net/tun"

_IFREQ: Final = struct.Struct("16sH22x")
_MADE_FOR_YOU: Final = "`ip tuntap add dev {name} mode {mode} user $USER`"
_NO_CAPABILITY: Final = (
    "this needs the capability CAP_NET_ADMIN: run as root, or attach to a device made for you with "
    f"{_MADE_FOR_YOU}, or work in a namespace of your own with `unshare -Urn`"
)


@dataclass(slots=True)
class Attachment:
    """An open, non-blocking fd on interface `name`. Closing the fd ends a device that is not `persistent`."""

    fd: int
    name: str
    vnet_header: bool  # each frame starts with VNET_HEADER bytes
    persistent: bool


def check_name(name: str) -> str:
    """`name`, if the kernel can have an interface of that name ("" lets it choose). Raises ValueError."""
    if len(os.fsencode(name)) > NAME_LIMIT:
        raise ValueError(f"interface name {name!r} is too long: the kernel takes at most {NAME_LIMIT} bytes")
    if name in (".", "..") or any(c in "/:\0" or c.isspace() for c in name):
        raise ValueError(f"interface name {name!r} holds a character that the kernel does not take")
    return name


def attach(name: str, kind: int, offload: bool, *, queue: bool = False) -> Attachment:
    """Open interface `name`, made if it is not there. `kind` is IFF_TUN or IFF_TAP. `queue`: as one of several
    queues, over which the kernel spreads the flows; see `attach_queues`.

    Raises OSError that says what is missing and what to do.
    """
    try:
        fd = os.open(CLONE_DEVICE, os.O_RDWR | os.O_NONBLOCK)
    except OSError as exc:
        _explain_open(exc)
    try:
        _set_interface(fd, name, kind, offload, queue)
        return _adopt(fd, kind, offload)
    except BaseException:
        os.close(fd)
        raise


def attach_queues(name: str, kind: int, offload: bool, count: int) -> list[Attachment]:
    """`count` queues of interface `name`, made if it is not there. A flow's packets keep to one of them while none is
    closed: its queue is that from which we sent on it last, or else, after some seconds, what its hash says.

    Raises OSError as `attach`.
    """
    made: list[Attachment] = []
    try:
        while len(made) < count:
            made.append(attach(made[0].name if made else name, kind, offload, queue=True))
    except BaseException:
        for attachment in made:
            os.close(attachment.fd)
        raise
    return made


def adopt(fd: int, kind: int, offload: bool) -> Attachment:
    """Take over an fd that someone else opened and attached. Raises OSError if it is none of `kind`."""
    attachment = _adopt(fd, kind, offload)
    os.set_blocking(fd, False)
    return attachment


def _adopt(fd: int, kind: int, offload: bool) -> Attachment:
    try:
        raw, flags = _IFREQ.unpack(fcntl.ioctl(fd, TUNGETIFF, bytes(_IFREQ.size)))
    except OSError as exc:
        raise OSError(exc.errno, f"fd {fd} is not attached to a TUN or TAP interface") from exc
    name = os.fsdecode(raw.rstrip(b"\0"))
    if flags & (IFF_TUN | IFF_TAP) != kind:
        raise OSError(errno.EINVAL, f"{name} is a {_mode(flags)}, not a {_mode(kind)} interface")
    if not flags & IFF_NO_PI:
        raise OSError(errno.EINVAL, f"{name} is attached with packet information; attach it with IFF_NO_PI")
    vnet_header = bool(flags & IFF_VNET_HDR)
    if vnet_header:
        fcntl.ioctl(fd, TUNSETVNETHDRSZ, struct.pack("i", VNET_HEADER))
    # Also without a header: whoever had a persistent interface before may have left its offloads on.
    _set_offload(fd, offload and vnet_header)
    return Attachment(fd, name, vnet_header, bool(flags & IFF_PERSIST))


def _set_interface(fd: int, name: str, kind: int, offload: bool, queue: bool) -> None:
    """TUNSETIFF. A persistent interface may insist on flags that it was made with, hence the variants."""
    plain = kind | IFF_NO_PI
    variants = [plain | IFF_VNET_HDR, plain | IFF_VNET_HDR | IFF_MULTI_QUEUE] if offload else []
    variants += [plain, plain | IFF_MULTI_QUEUE]
    if queue:
        variants = [flags for flags in variants if flags & IFF_MULTI_QUEUE]
    for flags in variants:
        try:
            fcntl.ioctl(fd, TUNSETIFF, _IFREQ.pack(os.fsencode(name), flags))
            return
        except OSError as exc:
            if exc.errno != errno.EINVAL or flags == variants[-1]:
                _explain_attach(exc, name, kind, queue)


def _set_offload(fd: int, offload: bool) -> None:
    for flags in OFFLOADS if offload else (0,):
        try:
            fcntl.ioctl(fd, TUNSETOFFLOAD, flags)
            return
        except OSError as exc:
            if exc.errno != errno.EINVAL:
                raise


def _explain_open(exc: OSError) -> NoReturn:
    if exc.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        detail = (
            f"{CLONE_DEVICE} is missing: load the module with `modprobe tun`, or give it to the container "
            f"with `--device {CLONE_DEVICE}`"
        )
    elif exc.errno in (errno.EACCES, errno.EPERM):
        detail = (
            f"this user may not open {CLONE_DEVICE}: run as root, or have it made readable and writable for "
            f"you with `chmod 666 {CLONE_DEVICE}`"
        )
    else:
        detail = f"{CLONE_DEVICE}: {os.strerror(exc.errno or 0)}"
    raise OSError(exc.errno, detail) from exc


def _explain_attach(exc: OSError, name: str, kind: int, queue: bool) -> NoReturn:
    shown = name or f"a new {_mode(kind)} interface"
    made = {"name": name or "NAME", "mode": _mode(kind) + (" multi_queue" if queue else "")}
    if exc.errno in (errno.EPERM, errno.EACCES):
        advice = _NO_CAPABILITY.format(**made)
        detail = f"no permission to attach to {shown}: {advice}"
    elif exc.errno == errno.EBUSY:
        detail = f"{shown} is in use by another program"
    elif exc.errno == errno.EINVAL and queue:
        detail = (
            f"{shown} can not have several queues: it is no {_mode(kind)}, or was not made with them, as by "
            + _MADE_FOR_YOU.format(**made)
        )
    elif exc.errno == errno.EINVAL:
        detail = f"{shown} can not be attached to: an interface of that name is no {_mode(kind)}"
    else:
        detail = f"attaching to {shown}: {os.strerror(exc.errno or 0)}"
    raise OSError(exc.errno, detail) from exc


def _mode(flags: int) -> str:
    return "tap" if flags & IFF_TAP else "tun"
