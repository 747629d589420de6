"""What is run in every column: a library, what of it, and how it comes to the stack."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module

from tests.ecosystem.columns import Column, Medium
from tests.ecosystem.site import Exchange

LOOP = "the loop's calls"  # which the library makes anyway
REPLACED = "`asyncstack run`"  # the library binds before a loop sees it
ADOPTED = "adopted sockets"  # kernel sockets that the library makes, replaced where the loop meets them
ANYWHERE = "bound to any address and adopted, as `asyncstack run` has no loop in virtual time"


@dataclass(frozen=True)
class Row:
    """`exchange`: "module:name" in `exchanges`. `packages`, `programs`: what has to be installed. `without`: why a
    medium, or a loop, can not have this row."""

    library: str
    what: str
    exchange: str
    packages: tuple[str, ...]
    way: str = LOOP
    without: Mapping[Medium | str, str] = field(default_factory=dict, hash=False)
    programs: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.exchange.replace(":", "-")

    def way_in(self, column: Column) -> str:
        """How it comes to the stack there."""
        return ADOPTED if self.remark(column) else self.way

    def remark(self, column: Column) -> str:
        """What is to be said of a cell that there is, or ""."""
        return ANYWHERE if self.way == REPLACED and column.medium is Medium.VIRTUAL else ""

    def why_not(self, column: Column) -> str:
        """Why there is no such cell; "" if there is one."""
        return self.without.get(column.medium, "") or self.without.get(column.loop, "")


def load(exchange: str) -> Exchange:
    """The exchange that a row names. Raises ImportError where its libraries are not installed."""
    module, _, name = exchange.partition(":")
    found: Exchange = getattr(import_module(f"tests.ecosystem.exchanges.{module}"), name)
    return found


NOT_ASYNCIO = dict.fromkeys(
    (Medium.SIMULATED, Medium.VIRTUAL, Medium.KERNEL_CLIENT),
    "the server is a program in C with kernel sockets, so only the client can be on the stack",
)

HYPERCORN = ("hypercorn", "fastapi", "httpx", "h2", "aioquic")

ROWS = (
    Row("uvicorn + FastAPI", "HTTP", "uvicorn_fastapi:http", ("uvicorn", "fastapi", "httpx")),
    Row("uvicorn + FastAPI", "WebSocket", "uvicorn_fastapi:websocket", ("uvicorn", "fastapi")),
    Row("uvicorn + FastAPI", "HTTPS", "uvicorn_fastapi:https", ("uvicorn", "fastapi", "httpx")),
    Row("hypercorn + FastAPI", "HTTP/1.1", "hypercorn_server:http1", HYPERCORN, REPLACED),
    Row("hypercorn + FastAPI", "HTTP/2 over TLS", "hypercorn_server:http2", HYPERCORN, REPLACED),
    Row("hypercorn + FastAPI", "HTTP/3", "hypercorn_server:http3", HYPERCORN, REPLACED),
    Row("websockets", "ws, permessage-deflate", "websockets_peers:plain", ("websockets",)),
    Row("websockets", "wss", "websockets_peers:secure", ("websockets",)),
    Row("aiohttp", "keep-alive pool", "aiohttp_peers:pool", ("aiohttp",), ADOPTED),
    Row("aiohttp", "sendfile", "aiohttp_peers:sendfile", ("aiohttp",), ADOPTED),
    Row("aiohttp", "WebSocket", "aiohttp_peers:websocket", ("aiohttp",), ADOPTED),
    Row("aiohttp", "HTTPS", "aiohttp_peers:https", ("aiohttp",), ADOPTED),
    Row(
        "aiohttp",
        "names, without aiodns",
        "aiohttp_peers:by_name",
        ("aiohttp", "dns"),
        ADOPTED,
        {Medium.KERNEL_CLIENT: "who looks names up is the client, and that is the kernel's here"},
    ),
    Row("httpx", "pool, streamed bodies", "httpx_client:plain", ("httpx", "aiohttp")),
    Row("httpx", "the same over TLS", "httpx_client:secure", ("httpx", "aiohttp")),
    Row("anyio", "TCP", "anyio_peers:tcp", ("anyio",), REPLACED),
    Row("anyio", "TLS", "anyio_peers:tls", ("anyio",), REPLACED),
    Row("anyio", "UDP", "anyio_peers:udp", ("anyio",)),
    Row("aioquic", "QUIC streams", "quic:echo", ("aioquic",), ADOPTED),
    Row("grpclib", "unary and streamed calls", "grpclib_peers:plain", ("grpclib", "google.protobuf")),
    Row("grpclib", "the same over TLS", "grpclib_peers:secure", ("grpclib", "google.protobuf")),
    Row("asyncssh", "shell", "ssh:shell", ("asyncssh",)),
    Row("asyncssh", "SFTP", "ssh:sftp", ("asyncssh",)),
    Row("aiosmtpd, aiosmtplib", "SMTP with STARTTLS", "smtp:starttls", ("aiosmtpd", "aiosmtplib")),
    Row("dnspython", "resolver, UDP and TCP", "dns_resolver:resolver", ("dns",)),
    Row(
        "zeroconf",
        "mDNS: register, browse, look up",
        "zeroconf_mdns:browse",
        ("zeroconf",),
        REPLACED,
        {Medium.VIRTUAL: "it counts on the clock of the system, and the loop has another"},
    ),
    Row(
        "asyncpg",
        "pool, TLS, COPY, NOTIFY with PostgreSQL",
        "databases:postgres",
        ("asyncpg",),
        programs=("postgres",),
        without=NOT_ASYNCIO,
    ),
    Row(
        "redis-py",
        "pipeline, publish, TLS with Redis",
        "databases:redis",
        ("redis",),
        programs=("redis-server",),
        without=NOT_ASYNCIO,
    ),
)
