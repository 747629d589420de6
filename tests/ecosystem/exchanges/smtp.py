"""aiosmtpd's SMTP, and aiosmtplib as its client: a message by STARTTLS, one that is refused."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage

import aiosmtplib
import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.ecosystem.site import SERVER_NAME, Exchange, Site, blob

PORT = 2525


class Digest:
    """Answers a message with the hash of what came."""

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list
    ) -> str:
        if not address.endswith("@server.example"):
            return "550 relaying denied"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        return f"250 {hashlib.sha256(envelope.content).hexdigest()} tls={session.ssl is not None}"


@asynccontextmanager
async def serve(site: Site) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    context = site.server_tls()

    def connected() -> SMTP:
        return SMTP(Digest(), hostname=SERVER_NAME, tls_context=context, require_starttls=True, loop=loop)

    server = await loop.create_server(connected, site.host, PORT)
    try:
        yield
    finally:
        server.close()
        await server.wait_closed()


def _message() -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@client.example", "b@server.example", "a picture"
    message.set_content("See below.\n")
    message.add_attachment(blob(size=200_000), maintype="image", subtype="png", filename="picture.png")
    return message


async def use(site: Site) -> None:
    message = _message()
    sent = message.as_bytes().replace(b"\n", b"\r\n")
    client = aiosmtplib.SMTP(
        hostname=site.host, port=PORT, tls_context=site.client_tls(), start_tls=True, local_hostname="client"
    )
    async with client:
        _, answer = await client.send_message(message)
        assert answer == f"{hashlib.sha256(sent).hexdigest()} tls=True"
        with pytest.raises(aiosmtplib.SMTPRecipientsRefused, match="relaying denied"):
            await client.sendmail("a@client.example", ["c@elsewhere.example"], "hello")


starttls = Exchange(serve, use)
