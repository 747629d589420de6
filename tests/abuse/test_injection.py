"""Off-path tries at a transfer (RFC 5961, RFC 5927, RFC 7323 5): the attacker knows the addresses and ports.

"In the window" grants what he would have to guess: the numbers are read off the connection at the moment of the try.
He has everything but what the RFC asks for: the exact number of a RST, an acceptable ACK, a fitting timestamp.
"""

import asyncio

import pytest

from asyncstack.wire.tcp import ACK, FIN, PSH, RST, SYN, URG, Segment
from tests.abuse.field import FAMILIES, HONEST, MASK, Field, Transfer, packed, quote

pytestmark = pytest.mark.virtual_time
TRIES = {4: 4000, 6: 1500}
TOO_BIG = {4: (3, 4), 6: (2, 0)}
ALLOWED = {4: (552,), 6: (1280, 1300)}
ERRORS = {
    4: [(3, 0), (3, 1), (3, 2), (3, 3), (3, 13), (4, 0), (5, 1), (11, 0), (12, 0)],
    6: [(1, 0), (1, 1), (1, 3), (1, 4), (3, 0), (4, 0), (4, 1), (137, 0)],
}


def window(conn, rng):
    """A number within the receive window, but not its first one."""
    return (conn.receiver.nxt + rng.randrange(1, max(conn.receiver.edge - conn.receiver.nxt, 2))) & MASK


def outside(conn, rng):
    """A number well beside the window."""
    return (conn.receiver.edge + rng.randrange(1 << 20, (1 << 32) - (1 << 23))) & MASK


def stale_ack(conn, rng):
    """An ACK of what was never sent, or of long ago (RFC 5961 5.2)."""
    return (conn.sender.nxt + rng.randrange(1 << 22, (1 << 32) - (1 << 24))) & MASK


def old_stamp(conn, rng):
    return (conn.receiver.ts_recent - rng.randrange(60_000, 1 << 30)) & MASK


def reset_in_window(conn, rng):
    return {"seq": window(conn, rng), "flags": RST | rng.choice((0, ACK, FIN, PSH))}


def reset_outside(conn, rng):
    return {"seq": outside(conn, rng), "flags": RST | rng.choice((0, ACK))}


def syn_anywhere(conn, rng):
    seq = rng.choice((window, outside))(conn, rng)
    return {
        "seq": seq,
        "flags": SYN | rng.choice((0, ACK, FIN, ACK | FIN)),
        "ts_val": conn.receiver.ts_recent,
    }


def exact_syn(conn, rng):
    """RFC 5961 4: not even the exact number of a SYN means anything."""
    return {
        "seq": (conn.receiver.nxt - rng.randrange(2)) & MASK,
        "flags": SYN,
        "ts_val": conn.receiver.ts_recent,
    }


def data_outside(conn, rng):
    return {"seq": outside(conn, rng), "flags": ACK | PSH, "ack": conn.sender.una & MASK, "payload": b"evil" * 50,
            "ts_val": conn.receiver.ts_recent}  # fmt: skip


def data_with_a_wrong_ack(conn, rng):
    seq = rng.choice((window(conn, rng), conn.receiver.nxt & MASK))
    return {"seq": seq, "flags": ACK | PSH, "ack": stale_ack(conn, rng), "payload": b"evil" * 50,
            "ts_val": conn.receiver.ts_recent}  # fmt: skip


def data_with_an_old_timestamp(conn, rng):
    return {"seq": conn.receiver.nxt & MASK, "flags": ACK | PSH, "ack": conn.sender.una & MASK,
            "payload": b"evil" * 50, "ts_val": old_stamp(conn, rng)}  # fmt: skip


def data_without_a_timestamp(conn, rng):
    return {
        "seq": conn.receiver.nxt & MASK,
        "flags": ACK | PSH,
        "ack": conn.sender.una & MASK,
        "payload": b"evil",
    }


def fin_with_a_wrong_ack(conn, rng):
    return {"seq": conn.receiver.nxt & MASK, "flags": ACK | FIN, "ack": stale_ack(conn, rng),
            "ts_val": conn.receiver.ts_recent}  # fmt: skip


def odd_flags(conn, rng):
    return {"seq": conn.receiver.nxt & MASK, "flags": rng.choice((0, FIN, FIN | PSH | URG, URG, PSH)),
            "payload": b"evil", "ts_val": conn.receiver.ts_recent}  # fmt: skip


def ack_of_what_was_never_sent(conn, rng):
    return {"seq": conn.receiver.nxt & MASK, "flags": ACK, "ack": stale_ack(conn, rng),
            "ts_val": conn.receiver.ts_recent, "sack": ((stale_ack(conn, rng), stale_ack(conn, rng)),)}  # fmt: skip


SEGMENTS = [
    reset_in_window, reset_outside, syn_anywhere, exact_syn, data_outside, data_with_a_wrong_ack,
    data_with_an_old_timestamp, data_without_a_timestamp, fin_with_a_wrong_ack, odd_flags, ack_of_what_was_never_sent,
]  # fmt: skip


async def attack(field, make, version):
    """`make` once every quarter of a millisecond, TRIES times, while a transfer runs both ways."""
    transfer = Transfer(field, 1, version)
    await transfer.start()
    await asyncio.sleep(0.1)
    conn = transfer.connection
    before = sum(transfer.bytes)
    for _ in range(TRIES[version]):
        make(conn, conn.remote_port, conn.local_port)
        await asyncio.sleep(0.00025)
    assert conn.state.name == "ESTABLISHED"
    moved = sum(transfer.bytes) - before
    assert moved > 200_000, moved
    await transfer.finish()
    return moved


@pytest.mark.parametrize("version", FAMILIES)
@pytest.mark.parametrize("make", SEGMENTS, ids=lambda make: make.__name__)
async def test_segments(network, make, version):
    """Nothing is killed, nothing corrupted, and the answers are few (RFC 5961 7)."""
    field = Field(network)
    clean = field.victim.counters["tcp.reset_sent"]

    def inject(conn, remote, local):
        fields = {"ack": 0, "window": 1000, **make(conn, field.rng)}
        field.uplink.segment(packed(HONEST[version]), Segment(remote, local, **fields))

    await attack(field, inject, version)
    assert field.victim.counters["tcp.reset_sent"] == clean
    await field.gone(130)


@pytest.mark.parametrize("inside", [False, True], ids=("beside what is in flight", "in flight"))
@pytest.mark.parametrize(
    ("version", "kind", "code"), [(version, *one) for version in FAMILIES for one in ERRORS[version]]
)
async def test_rfc5461_icmp_errors_end_no_open_connection(network, version, kind, code, inside):
    field = Field(network)

    def inject(conn, remote, local):
        at = conn.sender.una + field.rng.randrange(max(conn.sender.nxt - conn.sender.una, 1))
        seq = at if inside else at + field.rng.randrange(1 << 24, 1 << 31)
        src = field.rng.choice((packed(HONEST[version]), field.stranger(version)))
        field.uplink.icmp(kind, code, quote(Segment(local, remote, seq & MASK, 0, ACK, 0), version), src)

    await attack(field, inject, version)


@pytest.mark.parametrize("version", FAMILIES)
async def test_rfc5927_packet_too_big_beside_what_is_in_flight_changes_nothing(network, version):
    field = Field(network)

    def inject(conn, remote, local):
        seq = conn.sender.nxt + field.rng.randrange(1 << 24, 1 << 31)
        quoted = quote(Segment(local, remote, seq & MASK, 0, ACK, 0), version)
        mtu = field.rng.choice((68, 552, 576, 1300))
        field.uplink.icmp(*TOO_BIG[version], quoted, field.stranger(version), mtu)

    await attack(field, inject, version)
    assert not field.victim.routes.pmtu.get(packed(HONEST[version]))


@pytest.mark.parametrize("version", FAMILIES)
async def test_rfc1191_packet_too_big_that_guesses_right_makes_it_slower_at_worst(network, version):
    """Whoever can guess a number in flight may lower the path MTU; never below the least (RFC 1191 3, RFC 8201 4)."""
    field = Field(network)

    def inject(conn, remote, local):
        at = conn.sender.una + field.rng.randrange(max(conn.sender.nxt - conn.sender.una, 1))
        quoted = quote(Segment(local, remote, at & MASK, 0, ACK, 0), version)
        mtu = field.rng.choice((0, 68, 100, 1300))
        field.uplink.icmp(*TOO_BIG[version], quoted, field.stranger(version), mtu)

    await attack(field, inject, version)
    assert field.victim.routes.pmtu.get(packed(HONEST[version])) in ALLOWED[version]


@pytest.mark.parametrize("version", FAMILIES)
async def test_rfc5961_3_2_the_one_number_that_does(network, version):
    """So that the tests above could fail: a RST at RCV.NXT ends the connection."""
    field = Field(network)
    transfer = Transfer(field, 1, version)
    await transfer.start()
    await asyncio.sleep(0.1)
    conn = transfer.connection
    for job in transfer.jobs:
        job.add_done_callback(lambda job: job.exception())
    seq = conn.receiver.nxt & MASK
    field.uplink.segment(packed(HONEST[version]), Segment(conn.remote_port, conn.local_port, seq, 0, RST, 0))
    await asyncio.sleep(1e-6)
    assert conn.state.name == "CLOSED"
    transfer.ending = True
    for job in transfer.jobs:
        job.cancel()
    await asyncio.gather(*transfer.jobs, return_exceptions=True)
    for _, writer in transfer.ends:
        writer.transport.abort()
