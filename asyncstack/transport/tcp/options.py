"""The socket options of a TCP connection, by their names in `socket`.

Most are a field of `TcpConfig` in other units. A holder of these options has `config`, `configure(config)` and
`endpoint`, the connection or None before there is one.
"""

from __future__ import annotations

import errno
import math
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from asyncstack.config import TcpConfig
from asyncstack.errors import os_error
from asyncstack.transport.endpoint_socket import EndpointSocket
from asyncstack.transport.options import (
    ECN_BITS,
    Option,
    Settings,
    Table,
    checked_hops,
    checked_traffic_class,
)
from asyncstack.transport.tcp import defer_accept
from asyncstack.transport.tcp.congestion import Controllers
from asyncstack.transport.tcp.endpoint import TcpEndpoint
from asyncstack.transport.tcp.handshake import DEFAULT_MSS, SMALLEST_MSS
from asyncstack.transport.tcp.linux_info import SIZE as INFO_SIZE
from asyncstack.transport.tcp.linux_info import pack
from asyncstack.transport.tcp.polling import Watched, shown

if TYPE_CHECKING:
    from asyncstack.transport.tcp.layer import TcpLayer
    from asyncstack.transport.tcp.listener import Listener

SOL_SOCKET: Final = socket.SOL_SOCKET
IPPROTO_TCP: Final = socket.IPPROTO_TCP

# half of Linux's SOCK_MIN_RCVBUF, SOCK_MIN_SNDBUF; less is taken as this
SMALLEST_RECEIVE_BUFFER: Final = 1152
SMALLEST_SEND_BUFFER: Final = 2304
CONGESTION_NAME: Final = 16  # bytes, Linux: TCP_CA_NAME_MAX
SO_MAX_PACING_RATE: Final = 47  # not in `socket`; bytes per second
MOST_FIN_WAIT: Final = 120  # seconds; Linux: TCP_FIN_TIMEOUT_MAX
TCP_FASTOPEN_CONNECT, TCP_FASTOPEN_KEY, TCP_FASTOPEN_NO_COOKIE = 30, 33, 34  # not in `socket`
TCP_INQ: Final = 36
LINGER: Final = struct.Struct("@ii")


class Holder(Protocol):
    """What these options act on."""

    settings: Settings

    @property
    def config(self) -> TcpConfig:
        """The present settings."""

    @property
    def endpoint(self) -> TcpEndpoint | None:
        """The connection, if there is one."""

    @property
    def controllers(self) -> Controllers:
        """The congestion controllers of the stack."""

    @property
    def layer(self) -> TcpLayer:
        """Which TCP it is of."""

    def configure(self, config: TcpConfig) -> None:
        """Go by other settings."""


def setting(name: str, read: Callable[[Any], int], write: Callable[[int], object]) -> Option:
    """An option that is the field `name` of the settings; `read` and `write` convert."""

    def get(holder: Holder) -> int:
        return read(getattr(holder.config, name))

    def put(holder: Holder, value: int) -> None:
        holder.configure(replace(holder.config, **{name: write(value)}))  # type: ignore[arg-type]

    return Option(get, put)


def _from_1_to(most: int, value: int) -> int:
    if not 1 <= value <= most:
        raise os_error(errno.EINVAL, f"the value {value} of a socket option: 1 to {most}")
    return value


def _seconds(name: str) -> Option:
    return setting(name, int, lambda value: float(_from_1_to(32767, value)))


def _times(name: str, most: int) -> Option:
    return setting(name, int, lambda value: _from_1_to(most, value))


def _hops(name: str) -> Option:
    """A hop limit; 0 in the settings is the stack's."""

    def get(holder: Holder) -> int:
        return int(getattr(holder.config, name)) or holder.layer.config.ttl

    def put(holder: Holder, value: int) -> None:
        holder.configure(replace(holder.config, **{name: checked_hops(value)}))  # type: ignore[arg-type]

    return Option(get, put)


def _buffer(name: str, least: int) -> Option:
    """Told doubled, as Linux does, which counts its own overhead in. Once set it no longer tunes itself."""

    def get(holder: Holder) -> int:
        return min(2 * int(getattr(holder.config, name)), 0x7FFFFFFF)

    def put(holder: Holder, value: int) -> None:
        settings: dict[str, int] = {name: max(value, least), f"tune_{name}": False}
        holder.configure(replace(holder.config, **settings))  # type: ignore[arg-type]

    return Option(get, put)


def _get_linger(holder: Holder) -> bytes:
    linger = holder.config.linger
    return LINGER.pack(linger is not None, int(holder.settings.linger if linger is None else linger))


def _set_linger(holder: Holder, data: bytes) -> None:
    if len(data) < LINGER.size:
        raise os_error(errno.EINVAL, "SO_LINGER takes struct linger: two ints, on and seconds")
    on, seconds = LINGER.unpack(data[: LINGER.size])
    holder.settings.linger = seconds
    holder.configure(replace(holder.config, linger=float(seconds) if on else None))


def _get_congestion(holder: Holder) -> bytes:
    name = holder.controllers.find(holder.config.congestion).name
    return name.encode().ljust(CONGESTION_NAME, b"\0")


def _set_congestion(holder: Holder, data: bytes) -> None:
    name = data.partition(b"\0")[0].decode("ascii", "replace")
    try:
        holder.controllers.find(name)
    except ValueError as error:
        raise os_error(errno.ENOENT, str(error)) from None
    holder.configure(replace(holder.config, congestion=name))


def _set_defer_accept(holder: Holder, value: int) -> None:
    holder.configure(replace(holder.config, defer_accept=max(value, 0)))


def _set_user_timeout(holder: Holder, value: int) -> None:
    if value < 0:
        raise os_error(errno.EINVAL, f"TCP_USER_TIMEOUT is {value} ms")
    seconds = value / 1000.0 if value else holder.layer.config.tcp.user_timeout
    holder.configure(replace(holder.config, user_timeout=seconds, user_timeout_is_set=value > 0))


def _get_user_timeout(holder: Holder) -> int:
    return round(1000.0 * holder.config.user_timeout) if holder.config.user_timeout_is_set else 0


def _set_linger2(holder: Holder, value: int) -> None:
    seconds = float(min(value, MOST_FIN_WAIT)) if value else holder.layer.config.tcp.fin_wait_2
    holder.configure(replace(holder.config, fin_wait_2=max(seconds, -1.0)))


def _set_max_segment(holder: Holder, value: int) -> None:
    if value and not SMALLEST_MSS <= value <= 32767:
        raise os_error(errno.EINVAL, f"TCP_MAXSEG of {value}: {SMALLEST_MSS} to 32767")
    holder.configure(replace(holder.config, max_segment=value))


def _get_max_segment(holder: Holder) -> int:
    endpoint = holder.endpoint
    if endpoint is not None and endpoint.connection.synchronized:
        return endpoint.connection.sender.mss
    return holder.config.max_segment or DEFAULT_MSS


def _set_window_clamp(holder: Holder, value: int) -> None:
    if not value and holder.endpoint is not None:
        raise os_error(errno.EINVAL, "TCP_WINDOW_CLAMP of 0 on a connection")
    holder.configure(replace(holder.config, window_clamp=max(value, SMALLEST_RECEIVE_BUFFER) if value else 0))


def _set_nodelay(holder: Holder, value: int) -> None:
    """To set it, also again, pushes out what MSG_MORE or TCP_CORK hold, as on Linux."""
    holder.configure(replace(holder.config, nodelay=bool(value)))
    if value and (endpoint := holder.endpoint) is not None:
        endpoint.connection.sender.push()
        endpoint.settle()


def _set_quickack(holder: Holder, value: int) -> None:
    holder.settings.quick_ack = bool(value)
    if (endpoint := holder.endpoint) is not None:
        endpoint.connection.receiver.quickack(bool(value))
        endpoint.settle()


def _get_quickack(holder: Holder) -> int:
    endpoint = holder.endpoint
    return int(holder.settings.quick_ack if endpoint is None else endpoint.connection.receiver.quick > 0)


def _get_info(holder: Holder) -> bytes:
    endpoint = holder.endpoint
    if endpoint is None:
        return bytes(INFO_SIZE)
    return pack(endpoint.info())


def _get_pacing(holder: Holder) -> int:
    rate = holder.config.max_pacing_rate
    return -1 if rate >= 0xFFFFFFFF else round(rate)


def _set_pacing(holder: Holder, data: bytes) -> None:
    rate = int.from_bytes(data[:8], sys.byteorder)
    unlimited = rate in (0, 0xFFFFFFFF, (1 << 64) - 1)
    holder.configure(replace(holder.config, max_pacing_rate=math.inf if unlimited else float(rate)))


def _set_fast_open(holder: Holder, value: int) -> None:
    if value < 0 or holder.endpoint is not None:
        raise os_error(errno.EINVAL, "TCP_FASTOPEN is a length, of a socket that is not connected")
    holder.configure(replace(holder.config, fast_open=value))


def _set_fast_open_connect(holder: Holder, value: int) -> None:
    if value not in (0, 1) or holder.endpoint is not None:
        raise os_error(errno.EINVAL, "TCP_FASTOPEN_CONNECT is 0 or 1, of a socket that is not connected")
    holder.configure(replace(holder.config, fast_open=value))


def _set_fast_open_key(holder: Holder, data: bytes) -> None:
    if len(data) not in (16, 32):
        raise os_error(errno.EINVAL, f"TCP_FASTOPEN_KEY of {len(data)} bytes: 16, or 32")
    holder.configure(replace(holder.config, fast_open_key=data))


def _set_without_cookie(holder: Holder, value: int) -> None:
    if value not in (0, 1) or holder.endpoint is not None:
        raise os_error(errno.EINVAL, "TCP_FASTOPEN_NO_COOKIE is 0 or 1, of a socket that is not connected")
    holder.configure(replace(holder.config, fast_open_without_cookie=bool(value)))


def _set_oob_inline(holder: Holder, value: int) -> None:
    if not value:
        raise os_error(errno.EINVAL, "SO_OOBINLINE off: urgent data is always in line (RFC 6093 4)")


def _set_unread(holder: Holder, value: int) -> None:
    if value not in (0, 1):
        raise os_error(errno.EINVAL, "TCP_INQ is 0 or 1")
    holder.settings.unread = bool(value)


TCP_OPTIONS: Final[Table] = {
    (SOL_SOCKET, socket.SO_OOBINLINE): Option(lambda holder: 1, _set_oob_inline),
    (IPPROTO_TCP, socket.TCP_DEFER_ACCEPT): Option(
        lambda holder: defer_accept.seconds(holder.config), _set_defer_accept
    ),
    (IPPROTO_TCP, socket.TCP_CONGESTION): Option(_get_congestion, None, _set_congestion),
    (IPPROTO_TCP, socket.TCP_NODELAY): Option(lambda holder: int(holder.config.nodelay), _set_nodelay),
    (SOL_SOCKET, socket.SO_KEEPALIVE): setting("keepalive", int, bool),
    (IPPROTO_TCP, socket.TCP_KEEPIDLE): _seconds("keepalive_idle"),
    (IPPROTO_TCP, socket.TCP_KEEPINTVL): _seconds("keepalive_interval"),
    (IPPROTO_TCP, socket.TCP_KEEPCNT): _times("keepalive_count", 127),
    (IPPROTO_TCP, socket.TCP_SYNCNT): _times("syn_retries", 127),
    (SOL_SOCKET, socket.SO_RCVBUF): _buffer("receive_buffer", SMALLEST_RECEIVE_BUFFER),
    (SOL_SOCKET, socket.SO_SNDBUF): _buffer("send_buffer", SMALLEST_SEND_BUFFER),
    (IPPROTO_TCP, socket.TCP_CORK): setting("cork", int, bool),
    (IPPROTO_TCP, socket.TCP_QUICKACK): Option(_get_quickack, _set_quickack),
    (IPPROTO_TCP, socket.TCP_USER_TIMEOUT): Option(_get_user_timeout, _set_user_timeout),
    (IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT): setting("notsent_lowat", int, lambda value: value & 0xFFFFFFFF),
    (IPPROTO_TCP, socket.TCP_MAXSEG): Option(_get_max_segment, _set_max_segment),
    (IPPROTO_TCP, socket.TCP_LINGER2): Option(lambda holder: int(holder.config.fin_wait_2), _set_linger2),
    (IPPROTO_TCP, socket.TCP_WINDOW_CLAMP): Option(
        lambda holder: int(holder.config.window_clamp), _set_window_clamp
    ),
    (IPPROTO_TCP, socket.TCP_FASTOPEN): Option(lambda holder: int(holder.config.fast_open), _set_fast_open),
    (IPPROTO_TCP, TCP_FASTOPEN_CONNECT): Option(
        lambda holder: int(holder.config.fast_open > 0), _set_fast_open_connect
    ),
    (IPPROTO_TCP, TCP_FASTOPEN_KEY): Option(
        lambda holder: bytes(holder.config.fast_open_key), None, _set_fast_open_key
    ),
    (IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE): Option(
        lambda holder: int(holder.config.fast_open_without_cookie), _set_without_cookie
    ),
    (IPPROTO_TCP, TCP_INQ): Option(lambda holder: int(holder.settings.unread), _set_unread),
    (IPPROTO_TCP, socket.TCP_INFO): Option(_get_info),
    (socket.IPPROTO_IP, socket.IP_TOS): setting("tos", int, lambda value: value & 0xFF & ~ECN_BITS),
    (socket.IPPROTO_IPV6, socket.IPV6_TCLASS): setting(
        "traffic_class", int, lambda value: checked_traffic_class(value) & ~ECN_BITS
    ),
    (socket.IPPROTO_IP, socket.IP_TTL): _hops("ttl"),
    (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS): _hops("hops"),
    (SOL_SOCKET, SO_MAX_PACING_RATE): Option(_get_pacing, None, _set_pacing),
    (SOL_SOCKET, socket.SO_LINGER): Option(_get_linger, None, _set_linger),
}


class ConnectionSocket(EndpointSocket):
    """What `get_extra_info("socket")` of a connection's transport gives."""

    table = TCP_OPTIONS

    def __init__(self, endpoint: TcpEndpoint) -> None:
        super().__init__(socket.SOCK_STREAM, IPPROTO_TCP, endpoint.sockname, endpoint.peername)
        self.endpoint = endpoint

    @property
    def layer(self) -> TcpLayer:
        """Which TCP the connection is of."""
        return self.endpoint.layer

    @property
    def config(self) -> TcpConfig:
        """The connection's settings."""
        return self.endpoint.connection.config

    @property
    def controllers(self) -> Controllers:
        """The congestion controllers of the stack."""
        return self.endpoint.layer.controllers

    def configure(self, config: TcpConfig) -> None:
        """Go by other settings from now on."""
        self.endpoint.configure(config)

    def _watch(self) -> None:
        self.endpoint.owner = Watched(self.endpoint.owner, self)

    def _mask(self) -> int:
        return shown(self.endpoint)


class ListenerSocket(EndpointSocket):
    """One of `Server.sockets`. Its options go for the connections accepted from now on."""

    table = TCP_OPTIONS
    listening = True
    endpoint = None

    def __init__(self, listener: Listener) -> None:
        settings = Settings(reuse_address=True, reuse_port=listener.reuse_port)
        super().__init__(socket.SOCK_STREAM, IPPROTO_TCP, listener.sockname, None, settings)
        self._listener = listener

    @property
    def layer(self) -> TcpLayer:
        """Which TCP the listener is of."""
        return self._listener.layer

    @property
    def config(self) -> TcpConfig:
        """The settings of connections to come."""
        return self._listener.config

    @property
    def controllers(self) -> Controllers:
        """The congestion controllers of the stack."""
        return self._listener.layer.controllers

    def configure(self, config: TcpConfig) -> None:
        """Go by other settings from now on."""
        self._listener.config = config
