"""The memory budget of a stack: each step under pressure, in its order, and the way back."""

import asyncio
import errno

import pytest

from asyncstack import StackConfig
from asyncstack.config import TcpConfig
from asyncstack.transport.tcp.memory import MemoryBudget
from asyncstack.transport.tcp.receiver import RANGE_COST
from tests.transport.asyncio_contract.recorders import PausedReader, Recorder
from tests.transport.tcp.dialogue import Dialogue

MSS = 1448
LIMIT = 100_000_000


def dialogue(config=None):
    """Established, with a budget in which others hold nothing yet; the window is scaled by 7."""
    memory = MemoryBudget(LIMIT)
    d = Dialogue(config, memory=memory)
    d.inject("S", seq=0, ack=None)
    d.wait(0.1)
    d.inject("A", seq=1, ack=1)
    d.sent.clear()
    d.events.clear()
    return d, memory


def feed(d, count, *, read=True):
    for _ in range(count):
        d.inject(data=bytes(MSS))
        if read:
            d.read()


def grow(d, rounds=6):
    for n in range(rounds):
        d.wait(0.1)
        feed(d, 10 << n)


def test_what_is_unread_and_out_of_order_is_counted_and_returns():
    d, memory = dialogue()
    feed(d, 4, read=False)
    d.inject(seq=1 + 5 * MSS, data=bytes(MSS))
    d.wait(0.1)
    assert memory.held == 5 * MSS + RANGE_COST
    d.inject(seq=1 + 4 * MSS, data=bytes(MSS))
    d.wait(0.1)
    assert memory.held == 6 * MSS
    assert len(d.connection.receiver.take(MSS)) == MSS
    assert memory.held == 5 * MSS
    assert len(d.read()) == 5 * MSS
    assert memory.held == 0


@pytest.mark.parametrize("end", ["close", "abort"])
def test_what_nobody_will_read_is_given_back(end):
    d, memory = dialogue()
    feed(d, 3, read=False)
    d.inject(seq=1 + 5 * MSS, data=bytes(MSS))
    d.wait(0.1)
    assert memory.held == 4 * MSS + RANGE_COST
    getattr(d.connection, end)(d.now)
    assert memory.held == 0


def test_step_1_windows_stop_growing_and_grow_again():
    d, memory = dialogue()
    grow(d, 3)
    known = d.connection.receiver.buffer
    memory.held += memory.no_growth
    for _ in range(5):
        d.wait(0.1)
        feed(d, 100)
    assert d.connection.receiver.buffer == known
    memory.held -= memory.no_growth
    for n in range(3):
        d.wait(0.1)
        feed(d, 200 << n)
    assert d.connection.receiver.buffer > known


def test_step_2_a_lagging_reader_is_offered_less_but_nothing_is_taken_back():
    d, memory = dialogue()
    grow(d)
    receiver = d.connection.receiver
    d.wait(0.1)
    promised = receiver.edge
    memory.held += memory.shrink
    d.sent.clear()
    feed(d, 20, read=False)
    d.wait(0.1)
    assert promised <= receiver.edge < promised + MSS  # the scale rounds
    assert all(s.seq is not None and s.window << receiver.scale > 100_000 for _, s in d.sent)
    feed(d, (promised - receiver.nxt) // MSS, read=False)
    d.wait(0.1)
    assert 0 < receiver.edge - receiver.nxt <= 5 * MSS, "beyond what was promised four segments"
    # the way back
    memory.held -= memory.shrink
    d.sent.clear()
    d.read()
    d.expect("A")
    assert receiver.edge - receiver.nxt == 64 << 10
    grow(d)
    assert receiver.buffer > 500_000


def test_step_2_leaves_a_reader_in_time_alone():
    d, memory = dialogue()
    grow(d)
    known = d.connection.receiver.buffer
    memory.held += memory.shrink
    feed(d, 100)
    d.wait(0.1)
    assert d.connection.receiver.buffer == known
    assert d.connection.receiver.edge - d.connection.receiver.nxt >= known - 2 * MSS


def test_step_3_out_of_order_data_is_dropped_and_may_come_again():
    """RFC 2018 8: the receiver may renege; what arrives again is taken, and the stream stays what it was."""
    d, memory = dialogue()
    text = bytes(range(250)) * 40
    d.inject(seq=1001, data=text[1000:2000])
    d.expect("A", ack=1, sack=((1001, 2001),))
    memory.held += memory.prune
    d.inject(seq=3001, data=text[3000:4000])
    d.expect("A", ack=1, sack=())
    assert d.connection.receiver.held is None
    assert memory.held == memory.prune
    d.inject(seq=1, data=text[:1000])
    d.expect("A", ack=1001)
    d.wait(0.5)
    memory.held -= memory.prune
    d.inject(seq=3001, data=text[3000:4000])
    d.expect("A", ack=1001, sack=((3001, 4001),))
    d.inject(seq=1001, data=text[1000:3000])
    d.expect("A", ack=4001)
    assert d.read() == text[:4000]
    assert memory.held == 0


def test_last_step_a_lagging_reader_takes_no_more_even_within_its_window():
    d, memory = dialogue()
    feed(d, 6, read=False)
    d.wait(0.1)
    memory.held += LIMIT
    feed(d, 1, read=False)  # its ACK looks at the budget
    d.sent.clear()
    taken = d.connection.receiver.nxt
    d.inject(data=bytes(MSS))
    assert d.connection.receiver.nxt == taken
    d.expect("A", ack=1 + 7 * MSS)
    d.peer_nxt -= MSS
    assert len(d.read()) == 7 * MSS
    feed(d, 1, read=False)  # who holds nothing may always take a segment
    assert d.connection.receiver.nxt == taken + MSS
    memory.held -= LIMIT
    feed(d, 20, read=False)
    assert len(d.read()) == 21 * MSS
    assert memory.held == 0
    assert not d.connection.receiver.rare


def test_fixed_buffers_shrink_their_offers_too():
    d, memory = dialogue(TcpConfig(receive_buffer=200_000, tune_receive_buffer=False))
    feed(d, 1)
    d.wait(0.1)
    receiver = d.connection.receiver
    memory.held += memory.shrink
    feed(d, (receiver.edge - receiver.nxt) // MSS, read=False)
    d.wait(0.1)
    assert receiver.edge - receiver.nxt <= 5 * MSS
    memory.held -= memory.shrink
    d.read()
    assert receiver.edge - receiver.nxt > 190_000


@pytest.mark.virtual_time
async def test_step_4_new_connections_are_refused_and_counted_until_memory_is_free(network):
    a = network.host("a", "10.0.0.1/24")
    b = network.host("b", "10.0.0.2/24", config=StackConfig(memory=1_000_000))
    network.link(a, b, delay=0.001)
    await b.create_server(Recorder, "b", 80)
    await a.create_connection(Recorder, "b", 80)
    b.tcp.memory.held += b.tcp.memory.no_newcomers
    attempt = asyncio.create_task(a.create_connection(Recorder, "b", 80))
    await asyncio.sleep(2.0)
    assert not attempt.done()
    assert b.counters["tcp.memory_limit"] == 2  # the SYN and its repetition
    with pytest.raises(OSError, match="limit") as caught:
        await b.create_connection(Recorder, "a", 80)
    assert caught.value.errno == errno.ENOBUFS
    b.tcp.memory.held -= b.tcp.memory.no_newcomers
    await attempt  # the SYN's next repetition gets in


@pytest.mark.virtual_time
async def test_many_slow_readers_stay_within_the_budget_and_lose_nothing(network):
    """Fifty senders, readers that have paused: what they hold together is bounded; once they read, all arrives."""
    a = network.host("a", "10.0.0.1/24")
    config = StackConfig(memory=2_000_000, tcp=TcpConfig(receive_buffer=200_000, tune_receive_buffer=False))
    b = network.host("b", "10.0.0.2/24", config=config)
    network.link(a, b, delay=0.005, loss=0.02)
    accepted = []
    await b.create_server(lambda: accepted.append(PausedReader()) or accepted[-1], "b", 80)
    clients = []
    for _ in range(50):
        clients.append((await a.create_connection(Recorder, "b", 80))[1])
    for client in clients:
        client.transport.write(bytes(200_000))
    for _ in range(100):
        await asyncio.sleep(0.1)
        assert b.tcp.memory.held <= 2_000_000 + 50 * 65536  # each may take one segment beyond
    assert b.tcp.memory.held > 1_200_000
    for reader in accepted:
        reader.transport.resume_reading()
    await asyncio.sleep(100)  # senders have backed off
    assert [len(reader.data) for reader in accepted] == [200_000] * 50
    assert b.tcp.memory.held == 0
    assert a.tcp.memory.held == 0


@pytest.mark.virtual_time
@pytest.mark.parametrize("end", ["close", "abort", "reset by the peer"])
async def test_nothing_is_counted_once_all_has_ended(network, end):
    a, b = network.host("a", "10.0.0.1/24"), network.host("b", "10.0.0.2/24")
    network.link(a, b, delay=0.001)
    accepted = []
    await b.create_server(lambda: accepted.append(PausedReader()) or accepted[-1], "b", 80)
    _, client = await a.create_connection(Recorder, "b", 80)
    client.transport.write(bytes(50_000))
    await asyncio.sleep(1.0)
    assert b.tcp.memory.held == 50_000
    if end == "reset by the peer":
        client.transport.abort()
        await asyncio.sleep(1.0)
        assert b.tcp.memory.held == 50_000, "it can still be read"
        accepted[0].transport.resume_reading()
    else:
        getattr(accepted[0].transport, end)()
    await asyncio.sleep(1.0)
    assert b.tcp.memory.held == 0
