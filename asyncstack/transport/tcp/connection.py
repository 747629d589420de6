"""One TCP connection, sans-I/O (skeleton)."""

from __future__ import annotations

from asyncstack.config import TcpConfig
from asyncstack.transport.tcp.info import TcpInfo
from asyncstack.transport.tcp.state import Event, State
from asyncstack.transport.tcp.time_wait import TimeWaitEntry
from asyncstack.wire.tcp import Segment


class Connection:
    """One TCP connection without I/O. See the methods; `now` is in seconds, sizes in bytes."""

    state: State
    error: int  # errno why it ended; 0: cleanly, by us, or not yet
    config: TcpConfig

    def __init__(
        self,
        config: TcpConfig,
        *,
        local_port: int,
        remote_port: int,
        mss: int,
        max_payload: int,
        iss: int,
        ts_offset: int = 0,
    ) -> None:
        raise NotImplementedError

    # commands
    def open(self, now: float) -> None:
        """Active open: a SYN becomes ready to send."""
        raise NotImplementedError

    def accept(self, syn: Segment, now: float) -> None:
        """Passive open by a listener that received `syn`: SYN-RECEIVED, a SYN-ACK becomes ready to send."""
        raise NotImplementedError

    def write(self, data: bytes | memoryview) -> None:
        """Append immutable bytes to the send queue."""
        raise NotImplementedError

    def read(self) -> list[bytes | memoryview]:
        """All in-order bytes received. Frees the window: afterwards a window update may be ready to send."""
        raise NotImplementedError

    def shutdown(self, now: float) -> None:
        """FIN after the data (half-close)."""
        raise NotImplementedError

    def close(self, now: float) -> None:
        """The application has gone: FIN after the data; unread or later data makes it a RST."""
        raise NotImplementedError

    def abort(self, now: float) -> None:
        """RST (where the peer may know us) and CLOSED."""
        raise NotImplementedError

    def configure(self, config: TcpConfig, now: float) -> None:
        """Take other settings from now on: nodelay, keepalive*, user_timeout, delayed_ack, fin_wait_2."""
        raise NotImplementedError

    # inputs
    def receive_segment(self, segment: Segment, now: float) -> None:
        """A segment of this connection, its checksum checked. Never raises."""
        raise NotImplementedError

    def timer_expired(self, now: float) -> None:
        """Run every timer that is due; a call too early is harmless."""
        raise NotImplementedError

    def receive_error(self, errno: int, hard: bool, seq: int, now: float) -> None:
        """An ICMP error about a segment of ours with the raw number `seq`."""
        raise NotImplementedError

    def set_path_mss(self, mss: int, now: float) -> None:
        """The path carries only `mss` bytes of payload (without options) from now on."""
        raise NotImplementedError

    # outputs
    def segment_to_send(self, now: float) -> Segment | None:
        """The next segment that may leave now; None: nothing more. Call until None, also once after CLOSED."""
        raise NotImplementedError

    def events(self) -> tuple[Event, ...]:
        """What happened since the last call."""
        raise NotImplementedError

    @property
    def deadline(self) -> float:
        """When `timer_expired` has something to do; `math.inf`: never. Moves with every other call."""
        raise NotImplementedError

    # numbers
    @property
    def unread(self) -> int:
        raise NotImplementedError

    @property
    def queued(self) -> int:
        """Bytes written and not acknowledged."""
        raise NotImplementedError

    @property
    def send_buffer_limit(self) -> int:
        raise NotImplementedError

    def info(self, now: float) -> TcpInfo:
        raise NotImplementedError

    def time_wait_entry(self) -> TimeWaitEntry | None:
        """What `TimeWaitTable.add` needs if the connection is in TIME-WAIT, else None."""
        raise NotImplementedError
