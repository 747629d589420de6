"""SNTP in virtual time: what is believed, and what is not."""

import asyncio

import pytest

from asyncstack.application import sntp
from asyncstack.testing.plugin import async_fixture
from asyncstack.wire import ntp
from asyncstack.wire.ntp import Packet

pytestmark = pytest.mark.virtual_time(limit=100)

EPOCH = 1_700_000_000.0
SERVER_AHEAD = 12.5  # of the client's clock


class Server(asyncio.DatagramProtocol):
    """Answers with `fields`, after `work` seconds."""

    def __init__(self, ahead=SERVER_AHEAD, work=0.0, epoch=EPOCH, before=(), **fields):
        self.ahead, self.work, self.epoch, self.before = ahead, work, epoch, before
        self.fields = {"stratum": 1, "reference_id": b"GPS\0", **fields}
        self.asked = []

    def connection_made(self, transport):
        self.transport = transport

    def time(self):
        return ntp.from_unix(self.epoch + asyncio.get_running_loop().time() + self.ahead)

    def datagram_received(self, data, addr):
        self.asked.append(ntp.parse(data))
        for wrong in self.before:
            self.transport.sendto(wrong(self.answer(self.time())), addr)
        received = self.time()
        asyncio.get_running_loop().call_later(
            self.work, lambda: self.transport.sendto(ntp.build(self.answer(received)), addr)
        )

    def answer(self, received):
        fields = {"origin": self.asked[-1].transmitted, "received": received, "transmitted": self.time()}
        return Packet(ntp.SERVER, **{**fields, **self.fields})


@async_fixture
async def pair(network):
    client, server = (
        network.host("client", "10.0.0.1/24", "fd00::1/64"),
        network.host("server", "10.0.0.2/24", "fd00::2/64"),
    )
    network.link(client, server, delay=0.02)
    return client, server


async def ask(pair, server, name="10.0.0.2", epoch=EPOCH, **arguments):
    client, host = pair
    await host.create_datagram_endpoint(lambda: server, ("::", 123))
    loop = asyncio.get_running_loop()
    try:
        return await sntp.query(client, name, now=lambda: epoch + loop.time(), **arguments)
    finally:
        assert client.udp.endpoints == {}


@pytest.mark.parametrize("name", ["10.0.0.2", "fd00::2", "server"])
async def test_offset_and_delay(pair, name):
    server = Server(work=0.3, root_delay=0.01, root_dispersion=0.02)
    reading = await ask(pair, server, name)
    assert reading.offset == pytest.approx(SERVER_AHEAD, abs=1e-5)
    assert reading.delay == pytest.approx(0.04, abs=1e-5)
    assert (reading.stratum, reading.leap, reading.reference, reading.server) == (1, 0, "GPS", name)
    assert (reading.root_delay, reading.root_dispersion) == pytest.approx((0.01, 0.02), abs=1e-4)
    [asked] = server.asked
    assert asked == Packet(ntp.CLIENT, transmitted=asked.transmitted)  # nothing of us, not even our time


@pytest.mark.parametrize("ahead", [-40 * 365 * 86400.0, -1.0, 40 * 365 * 86400.0])
async def test_a_clock_that_is_far_off(pair, ahead):
    reading = await ask(pair, Server(ahead))
    assert reading.offset == pytest.approx(ahead, abs=1e-4)


async def test_the_year_2036(pair):
    """The client is still in era 0, and the answer comes from era 1."""
    epoch = 2085978496.0 - 0.03
    reading = await ask(pair, Server(1.0, epoch=epoch), epoch=epoch)
    assert (reading.offset, reading.time > 2085978496) == (pytest.approx(1.0, abs=1e-5), True)


@pytest.mark.parametrize(("leap", "said"), [(0, 0), (1, 1), (2, -1)])
async def test_leap_seconds(pair, leap, said):
    assert (await ask(pair, Server(leap=leap))).leap == said


async def test_a_server_of_stratum_2_names_where_it_has_the_time_from(pair):
    reading = await ask(pair, Server(stratum=2, reference_id=bytes((192, 0, 2, 1))))
    assert reading.reference == "c0000201"


@pytest.mark.parametrize("code", ["DENY", "RSTR", "RATE"])
async def test_a_kiss_of_death(pair, code):
    with pytest.raises(sntp.Kiss, match=f"10.0.0.2 sends a kiss of death: {code}") as raised:
        await ask(pair, Server(stratum=0, leap=3, reference_id=code.encode()))
    assert raised.value.code == code


@pytest.mark.parametrize(
    "fields",
    [{"leap": 3}, {"stratum": 16}, {"transmitted": 0}, {"root_dispersion": 16.0}, {"root_delay": 40.0}],
)
async def test_a_server_that_does_not_know_itself(pair, fields):
    with pytest.raises(OSError, match="does not know the time"):
        await ask(pair, Server(**fields))


@pytest.mark.parametrize("code", [b"INIT", b"STEP", bytes(4)])
async def test_a_server_that_has_not_got_the_time_yet_is_no_enemy(pair, code):
    """ntpd and chronyd say so with the stratum of a kiss (RFC 5905 7.4)."""
    with pytest.raises(OSError, match="does not know the time") as raised:
        await ask(pair, Server(stratum=0, leap=3, reference_id=code, transmitted=0))
    assert not isinstance(raised.value, sntp.Kiss)


def forged(**fields):
    def build(packet):
        for name, value in fields.items():
            setattr(packet, name, value)
        return ntp.build(packet)

    return build


@pytest.mark.forges("an answer cut short")
async def test_what_is_no_answer_is_passed_over(pair):
    wrong = [
        forged(origin=1),  # to another question
        forged(origin=0),
        forged(mode=ntp.CLIENT),
        forged(mode=5),
        lambda packet: ntp.build(packet)[:47],
        forged(version=0),
        forged(stratum=0, origin=7, reference_id=b"DENY"),  # a kiss from nobody we asked
    ]
    reading = await ask(pair, Server(before=wrong))
    assert reading.offset == pytest.approx(SERVER_AHEAD, abs=1e-5)


async def test_nobody_answers(pair):
    began = asyncio.get_running_loop().time()
    with pytest.raises(TimeoutError, match=r"no answer from the time server 10.0.0.2 within 3 s"):
        await ask(pair, Server(work=10.0), timeout=3)
    assert asyncio.get_running_loop().time() - began == pytest.approx(3)


async def test_nobody_is_there(pair):
    with pytest.raises(ConnectionRefusedError):
        await sntp.query(pair[0], "10.0.0.2")


async def test_two_questions_differ(pair):
    server = Server()
    await ask(pair, server)
    await sntp.query(pair[0], "10.0.0.2")
    assert server.asked[0].transmitted != server.asked[1].transmitted
