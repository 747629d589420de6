"""Whatever clients say, the server's table agrees with itself, and with what it has told of it."""

import math
import random
from socket import inet_aton

import pytest

from asyncstack.application.dhcp import BindingAdded, Pool
from asyncstack.application.dhcp.bindings import Phase
from asyncstack.application.dhcp.serving import ServerMachine
from asyncstack.counters import Counters
from asyncstack.wire import dhcp
from asyncstack.wire.dhcp import REQUEST, Message, Type
from tests.application.dhcp.offices import US, mac

KINDS = [Type.DISCOVER] * 3 + [Type.REQUEST] * 4 + [Type.DECLINE, Type.RELEASE, Type.INFORM]
OPTIONS = {  # code: (how likely, values); None: some address
    50: (0.5, None),
    54: (0.4, [US] * 4 + [inet_aton("10.0.0.2")]),
    61: (0.1, [b"\1id"]),
    51: (0.1, [bytes(4), b"\0\0\0\x32", b"\xff\xff\xff\xff"]),
    55: (0.3, [bytes(range(1, 60)), b"", b"\xff\0"]),
    57: (0.2, [bytes(2), b"\x02\x40", b"\xff\xff"]),
    12: (0.2, [b"a", b"-x", b"\xff", b"a" * 80, b""]),
    82: (0.1, [b"\5\4" + inet_aton("10.1.0.1"), b"\5\4\1", b"\5", b"x" * 1200]),
    118: (0.05, None),
}


def message(rng, table):
    """Of one of a few clients, about a few addresses, most often its own."""
    who = rng.choice([mac(rng.randint(1, 9))] * 8 + [b"", b"\1" * 16])
    own = [one.address for one in table.by_address.values() if one.mac == who]

    def address():
        if own and rng.random() < 0.7:
            return own[0]
        near = [f"10.0.0.{rng.randint(0, 8)}", f"10.1.0.{rng.randint(0, 4)}"]
        return inet_aton(rng.choice([*near, "10.0.0.50", "192.168.1.1", "0.0.0.0"]))

    given = {
        code: rng.choice(values) if values else address()
        for code, (likely, values) in OPTIONS.items()
        if rng.random() < likely
    }
    fields = {name: address() for name, likely in (("ciaddr", 0.3), ("giaddr", 0.1)) if rng.random() < likely}
    hardware = rng.choice([1, 1, 1, 6])
    return Message(
        REQUEST, b"1234", who, {53: bytes([rng.choice(KINDS)])} | given, hardware=hardware, **fields
    )


def pools():
    reservations = {mac(1).hex(":"): "10.0.0.5", b"\1id": "10.0.0.50"}
    here = Pool(network="10.0.0.0/24", last="10.0.0.6", lease_time=100, reservations=reservations)
    return [here, Pool(network="10.1.0.0/24", last="10.1.0.3")]


def check(machine, bound):
    table = machine.bindings
    assert {one.address for one in table.by_address.values() if one.phase is Phase.BOUND} == bound
    for one in table._by_client.values():
        assert table.by_address.get(one.address) is one
        assert one.phase is not Phase.DECLINED
    for pool in machine.pools:
        without = {address for address in pool.addresses() if address not in table.by_address}
        assert set(table._fresh[id(pool)]) == without


@pytest.mark.parametrize("seed", range(40))
def test_a_few_clients_that_say_anything(seed):
    rng, now, bound = random.Random(seed), 0.0, set()
    machine = ServerMachine(
        US, pools(), rng, Counters(), check=seed % 2 == 0, authoritative=seed % 4 < 2, per_second=1e6
    )
    answers = 0
    for _ in range(150):
        what = rng.random()
        if what < 0.75:
            machine.receive_message(message(rng, machine.bindings), now)
        elif what < 0.9:
            for address in list(machine._checking):
                machine.checked(address, rng.random() < 0.7, now)
        else:
            due = machine.deadline < math.inf and rng.random() < 0.7
            now = machine.deadline if due else now + rng.choice([1, 50, 500])
            machine.timer_expired(now)
            assert machine.deadline > now
        for reply in machine.replies_to_send():
            assert dhcp.parse(memoryview(reply.data)).type in (Type.OFFER, Type.ACK, Type.NAK)
            answers += 1
        for event in machine.events():
            change = bound.add if isinstance(event, BindingAdded) else bound.remove
            change(event.binding.address)
        check(machine, bound)
    assert answers > 10
