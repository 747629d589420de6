"""Where an exchange takes place: the server's address, and the files that both sides may read."""

import datetime
import ipaddress
import random
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

SERVER_NAME = "server.example"  # in the certificate, beside the addresses
MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Site:
    """`host`: the server's address. `folder`: what `prepare` made, and room for files of the exchange's own.
    `bound_to`: what a server binds its own sockets to, if that is another address."""

    host: str
    folder: Path
    bound_to: str = ""

    @property
    def bind(self) -> str:
        """For servers that bind sockets of their own."""
        return self.bound_to or self.host

    @property
    def authority(self) -> str:
        """File of the certificate authority that clients trust."""
        return str(self.folder / "authority.pem")

    @property
    def certificate(self) -> str:
        """File of the server's certificate."""
        return str(self.folder / "server.pem")

    @property
    def key(self) -> str:
        """File of its key."""
        return str(self.folder / "server.key")

    def server_tls(self, *protocols: str) -> ssl.SSLContext:
        """A context for the server's side, that offers `protocols` by ALPN."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate, self.key)
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context

    def client_tls(self, *protocols: str) -> ssl.SSLContext:
        """A context for the client's side, that trusts the test's authority and nobody else."""
        context = ssl.create_default_context(cafile=self.authority)
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context


class Exchange(NamedTuple):
    """A server, running inside `async with serve(site)`, and a client that asserts what it gets from it."""

    serve: Callable[[Site], AbstractAsyncContextManager[None]]
    use: Callable[[Site], Awaitable[None]]


def blob(seed: int = 1, size: int = MEGABYTE) -> bytes:
    """Bytes that repeat nowhere, the same on both sides."""
    return random.Random(seed).randbytes(size)


def prepare(folder: Path, addresses: list[str]) -> None:
    """Write an authority, and a certificate by it for SERVER_NAME and `addresses`."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = datetime.datetime.now(datetime.UTC)
    authority_key, server_key = (
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP256R1()),
    )

    def certificate(subject: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name("authority"))
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(hours=1))
        return builder.not_valid_after(now + datetime.timedelta(days=1))

    authority = certificate("authority", authority_key).add_extension(x509.BasicConstraints(True, 0), True)
    names = [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    alternatives = x509.SubjectAlternativeName([x509.DNSName(SERVER_NAME), *names])
    server = certificate(SERVER_NAME, server_key).add_extension(alternatives, False)
    for file, built in (("authority.pem", authority), ("server.pem", server)):
        signed = built.sign(authority_key, hashes.SHA256())
        (folder / file).write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    private = server_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.key").write_bytes(private)
