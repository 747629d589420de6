"""asyncpg with a real PostgreSQL, redis-py with a real Redis: Debian's servers, which have kernel sockets only."""

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from tests.ecosystem.site import Exchange, Site, blob
from tests.netns import leave_root
from tests.programs import require_program
from tests.running import die_with_parent

PASSWORD = "correct horse battery staple"
POSTGRES, REDIS, REDIS_TLS = 5432, 6379, 6380


@contextmanager
def _running(ready: str, *command: str, **options: object) -> Iterator[None]:
    """A program, from when it prints a line with `ready` in it to its end by SIGINT."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
    )
    try:
        said = []
        for line in process.stdout:
            said.append(line)
            if ready in line:
                break
        else:
            raise AssertionError(f"{command[0]} ended: {''.join(said)}")
        yield
    finally:
        process.send_signal(2)
        process.communicate(timeout=10)


def _as_somebody() -> None:
    """PostgreSQL does not run as root."""
    leave_root()
    die_with_parent()


@asynccontextmanager
async def serve_postgres(site: Site) -> AsyncIterator[None]:
    program = Path(require_program("postgres"))
    with tempfile.TemporaryDirectory(dir=site.folder) as name:
        folder = Path(name)
        options = {"cwd": name, "preexec_fn": _as_somebody}
        (folder / "password").write_text(PASSWORD)
        for file in (site.certificate, site.key):
            Path(shutil.copy(file, folder)).chmod(0o600)
        initdb = [program.with_name("initdb"), "--pgdata=data", "--username=guest", "--pwfile=password"]
        flags = ["--auth=scram-sha-256", "--locale=C", "--encoding=UTF8", "--no-sync"]
        subprocess.run([*initdb, *flags], check=True, capture_output=True, **options)
        settings = {
            "listen_addresses": site.host,
            "port": POSTGRES,
            "unix_socket_directories": "",
            "ssl": "on",
            "ssl_cert_file": folder / "server.pem",
            "ssl_key_file": folder / "server.key",
            "fsync": "off",
        }
        access = f"hostssl all all {site.host}/24 scram-sha-256\n"
        with (folder / "data" / "pg_hba.conf").open("a") as file:
            file.write(access)
        command = [str(program), "-D", "data"]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with _running("ready to accept connections", *command, **options):
            yield


async def use_postgres(site: Site) -> None:
    import asyncpg

    address = {
        "host": site.host,
        "port": POSTGRES,
        "user": "guest",
        "password": PASSWORD,
        "database": "postgres",
    }
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(**{**address, "password": "wrong"}, ssl=site.client_tls())
    async with asyncpg.create_pool(**address, ssl=site.client_tls(), min_size=2, max_size=4) as pool:
        async with pool.acquire() as one:
            assert await one.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
            assert await one.fetchval("SELECT host(inet_server_addr())") == site.host
            await one.execute("CREATE TABLE things (number int PRIMARY KEY, body bytea)")
            records = [(number, blob(number, 1000)) for number in range(500)]
            await one.copy_records_to_table("things", records=records)
            async with one.transaction():
                rows = [tuple(row) async for row in one.cursor("SELECT * FROM things ORDER BY number")]
            assert rows == records
            with pytest.raises(asyncpg.UniqueViolationError):
                await one.execute("INSERT INTO things VALUES (1, '')")
        counts = await asyncio.gather(*(pool.fetchval("SELECT count(*) FROM things") for _ in range(8)))
        assert counts == [500] * 8
        await _notified(pool)


async def _notified(pool) -> None:
    """LISTEN and NOTIFY, and a statement that is cancelled over a connection of its own."""
    heard = asyncio.get_running_loop().create_future()
    async with pool.acquire() as one, pool.acquire() as other:

        def listener(connection: object, pid: int, channel: str, payload: str) -> None:
            heard.set_result(payload)

        await one.add_listener("news", listener)
        await other.execute("NOTIFY news, 'extra'")
        assert await heard == "extra"
        await one.remove_listener("news", listener)
        with pytest.raises(TimeoutError):
            await other.execute("SELECT pg_sleep(20)", timeout=0.1)
        assert await other.fetchval("SELECT 1") == 1


@asynccontextmanager
async def serve_redis(site: Site) -> AsyncIterator[None]:
    with tempfile.TemporaryDirectory(dir=site.folder) as folder:
        settings = {
            "--bind": site.host,
            "--port": REDIS,
            "--tls-port": REDIS_TLS,
            "--tls-cert-file": site.certificate,
            "--tls-key-file": site.key,
            "--tls-auth-clients": "no",
            "--requirepass": PASSWORD,
            "--save": "",
            "--dir": folder,
        }
        command = [
            require_program("redis-server"),
            *(str(word) for pair in settings.items() for word in pair),
        ]
        with _running("Ready to accept connections", *command, preexec_fn=die_with_parent):
            yield


async def use_redis(site: Site) -> None:
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import AuthenticationError

    with pytest.raises(AuthenticationError):
        async with Redis(host=site.host, port=REDIS, password="wrong", retry=Retry(NoBackoff(), 0)) as client:
            await client.ping()
    async with Redis(host=site.host, port=REDIS, password=PASSWORD) as client:
        await client.set("blob", blob())
        assert await client.get("blob") == blob()
        async with client.pipeline() as pipe:
            for number in range(1000):
                pipe.rpush("numbers", number)
            assert await pipe.execute() == list(range(1, 1001))
        popped, _ = await asyncio.gather(client.blpop("later", timeout=10), client.lpush("later", "now"))
        assert popped == (b"later", b"now")
        await _published(client)
    tls = {"ssl": True, "ssl_ca_certs": site.authority}
    async with Redis(host=site.host, port=REDIS_TLS, password=PASSWORD, **tls) as client:
        assert await client.llen("numbers") == 1000


async def _published(client) -> None:
    async with client.pubsub() as channel:
        await channel.subscribe("news")
        assert (await channel.get_message(timeout=10))["type"] == "subscribe"
        assert await client.publish("news", "extra") == 1
        assert (await channel.get_message(timeout=10))["data"] == b"extra"


postgres = Exchange(serve_postgres, use_postgres)
redis = Exchange(serve_redis, use_redis)
