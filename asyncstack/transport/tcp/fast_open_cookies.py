"""What a stack knows for TCP Fast Open (RFC 7413 4.1, 5): keys of cookies, servers met before, a listener's queue.

A cookie is SipHash-2-4 over the client's and the server's address, so that one key gives the same cookie as Linux does
(net.ipv4.tcp_fastopen_key). Without a key in the settings each stack has its own, a new one every `ROTATION` seconds;
the one before is good too, and its cookie is answered by the new one.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from asyncstack.config import TcpConfig
from asyncstack.transport.tcp.fast_open import Opening, Serving
from asyncstack.transport.tcp.siphash import siphash
from asyncstack.wire.tcp import Segment

KEY: Final = 16
ROTATION: Final = 86400.0
REMEMBERED: Final = 1024  # servers
QUARANTINE: Final = 60.0  # seconds without Fast Open after a SYN with data was lost, doubled each time; Linux
RESET_TIME: Final = 60.0  # seconds that a handshake that was reset counts as incomplete (RFC 7413 5.1)


class Keys:
    """Makes and checks cookies."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def cookies(self, client: bytes, server: bytes, key: bytes, now: float) -> tuple[bytes, bytes]:
        """(the cookie of `client`, the one that was good before). `key`: 16 or 32 bytes of the settings, b"": ours."""
        if key:
            keys = key[:KEY], key[-KEY:]
        else:
            period = int(now // ROTATION)
            keys = self._key(period), self._key(period - 1)
        first, second = [siphash(each, client + server) for each in keys]
        return first, second

    def _key(self, period: int) -> bytes:
        return blake2b(b"%d" % period, digest_size=KEY, key=self._secret, person=b"fast open").digest()


class FastOpenQueue:
    """The handshakes of one listener that were opened by a cookie and are not complete."""

    __slots__ = ("_keys", "_resets", "_unstamped", "pending")

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self.pending = 0
        self._resets: deque[float] = deque()  # until when each counts
        self._unstamped = 0

    def receive_syn(
        self, client: bytes, server: bytes, syn: Segment, config: TcpConfig, now: float
    ) -> Serving | None:
        """What becomes of `syn`; None: it is a SYN like any other."""
        asked = syn.fast_open
        if asked is None and not (config.fast_open_without_cookie and syn.payload):
            return None
        if not self._has_room(config.fast_open, now):
            return None
        if config.fast_open_without_cookie:
            return Serving(None, False, self, True)
        fresh, before = self._keys.cookies(client, server, config.fast_open_key, now)
        valid = asked in (fresh, before)
        return Serving(None if asked == fresh else fresh, syn.experimental, self, valid)

    def _has_room(self, limit: int, now: float) -> bool:
        resets = self._resets
        while self._unstamped:
            self._unstamped -= 1
            resets.append(now + RESET_TIME)
        while resets and resets[0] <= now:
            resets.popleft()
        return self.pending + len(resets) < limit

    def release(self, reset: bool) -> None:
        """One of them is over."""
        self.pending -= 1
        self._unstamped += reset


@dataclass(slots=True)
class _Server:
    """What is known of one address. `refusals`: the usual, then the experimental option was not answered."""

    cookie: bytes = b""
    experimental: bool = False
    mss: int = 0
    refusals: int = 0
    losses: int = 0
    lost_at: float = 0.0


class Servers:
    """What a client remembers, by address; the one not used for longest is forgotten first (RFC 7413 4.1.3)."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[bytes, _Server] = {}

    def __len__(self) -> int:
        return len(self._known)

    def opening(self, remote: bytes, config: TcpConfig, now: float, patience: float) -> Opening | None:
        """For an open of a connection to `remote`, see there; None: without Fast Open."""
        known = self._known.get(remote, _UNKNOWN)
        if known.losses and now < known.lost_at + (QUARANTINE * (1 << min(known.losses - 1, 16))):
            return None
        cookie: bytes | None = known.cookie
        experimental = known.experimental if cookie else known.refusals == 1
        if not cookie and config.fast_open_without_cookie:
            cookie = None
        return Opening(self, remote, cookie, experimental, known.mss, patience)

    def learn(
        self, remote: bytes, answer: Segment, lost: bool, refused: bool, experimental: bool, now: float
    ) -> None:
        """The SYN-ACK `answer` came. `lost`: the SYN with data did not get through; `refused`: it was asked for a
        cookie, with the `experimental` option or the usual one, and has none."""
        known = self._known.pop(remote, None) or _Server()
        self._known[remote] = known
        if len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]
        if answer.mss:
            known.mss = answer.mss
        if answer.fast_open:
            known.cookie, known.experimental = answer.fast_open, answer.experimental
        elif refused and not known.cookie:
            known.refusals = max(known.refusals, 2 if experimental else 1)
        if lost:
            known.losses += 1
            known.lost_at = now
        else:
            known.losses = 0


_UNKNOWN: Final = _Server()
