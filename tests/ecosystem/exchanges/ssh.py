"""asyncssh's server and client: an interactive command, its exit status, and files by SFTP."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncssh
import pytest

from tests.ecosystem.site import Exchange, Site, blob

PORT = 2222


async def _shell(process: asyncssh.SSHServerProcess) -> None:
    """A shell that knows one command and `exit N`."""
    process.stdout.write(f"hello {process.get_extra_info('username')}\n")
    async for line in process.stdin:
        word, _, rest = line.rstrip("\n").partition(" ")
        if word == "exit":
            process.exit(int(rest))
            return
        process.stdout.write(f"{rest.upper()}\n")


@asynccontextmanager
async def serve(site: Site) -> AsyncIterator[None]:
    host_key, user_key = (
        asyncssh.generate_private_key("ssh-ed25519"),
        asyncssh.generate_private_key("ssh-ed25519"),
    )
    (site.folder / "known_hosts").write_bytes(b"* " + host_key.export_public_key())
    user_key.write_private_key(str(site.folder / "user_key"))
    authorized = asyncssh.import_authorized_keys(user_key.export_public_key().decode())
    root = site.folder / "sftp"
    root.mkdir(exist_ok=True)
    (root / "there").write_bytes(blob(2))

    def sftp(channel: asyncssh.SSHServerChannel) -> asyncssh.SFTPServer:
        return asyncssh.SFTPServer(channel, chroot=str(root).encode())

    server = await asyncssh.listen(
        site.host,
        PORT,
        server_host_keys=[host_key],
        authorized_client_keys=authorized,
        process_factory=_shell,
        sftp_factory=sftp,
    )
    try:
        yield
    finally:
        server.close()
        await server.wait_closed()


def _connect(site: Site):
    return asyncssh.connect(
        site.host,
        PORT,
        username="guest",
        known_hosts=str(site.folder / "known_hosts"),
        client_keys=[str(site.folder / "user_key")],
        config=None,
        agent_path=None,
    )


async def use_shell(site: Site) -> None:
    async with _connect(site) as connection:
        process = await connection.create_process(term_type=None)
        assert await process.stdout.readline() == "hello guest\n"
        for text in ("once", "twice"):
            process.stdin.write(f"shout {text}\n")
            assert await process.stdout.readline() == f"{text.upper()}\n"
        process.stdin.write("exit 3\n")
        assert (await process.wait()).exit_status == 3
    with pytest.raises(asyncssh.PermissionDenied):
        stranger = asyncssh.generate_private_key("ssh-ed25519")
        await asyncssh.connect(
            site.host, PORT, known_hosts=None, client_keys=[stranger], config=None, agent_path=None
        )


async def use_sftp(site: Site) -> None:
    here = site.folder / "here"
    here.write_bytes(blob(3))
    async with _connect(site) as connection, connection.start_sftp_client() as sftp:
        await sftp.put(str(here), "copied")
        await sftp.rename("copied", "renamed")
        assert {"there", "renamed"} <= set(await sftp.listdir("/"))
        assert (await sftp.stat("renamed")).size == len(blob(3))
        for name, seed in (("renamed", 3), ("there", 2)):
            await sftp.get(name, str(site.folder / "fetched"))
            fetched = (site.folder / "fetched").read_bytes()
            assert hashlib.sha256(fetched).digest() == hashlib.sha256(blob(seed)).digest()
        await sftp.remove("renamed")


shell = Exchange(serve, use_shell)
sftp = Exchange(serve, use_sftp)
