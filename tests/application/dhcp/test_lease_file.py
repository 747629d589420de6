"""What a crash leaves: whatever a client was told of is there, and nothing that nobody said."""

import asyncio
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from socket import inet_aton

import pytest

from asyncstack.application.dhcp import BindingRemoved, DhcpServer, Pool, lease_file
from asyncstack.application.dhcp.bindings import Binding, Phase
from asyncstack.application.dhcp.lease_file import LeaseFile
from asyncstack.wire.dhcp import Type
from tests.application.dhcp.offices import POOL, US, mac, office

pytestmark = pytest.mark.virtual_time(limit=200_000)


def file_at(path):
    return LeaseFile(path, lambda at: at + 1000, lambda at: at - 1000)


def binding(number, hostname="", phase=Phase.BOUND):
    address = inet_aton(f"10.0.0.{number}")
    return Binding(address, b"\1" + mac(number), mac(number), hostname, phase, 3600.5 + number)


def test_a_binding_can_be_read():
    assert repr(binding(7, "bob")) == f"<Binding 10.0.0.7 bound {mac(7).hex(':')} bob until 3607.5>"


async def read(path):
    file = file_at(path)
    found = await file.open()
    await file.close()
    return found, file.damaged


async def test_what_was_written_is_read_and_the_last_counts(tmp_path):
    path = tmp_path / "leases"
    file = file_at(path)
    assert await file.open() == []
    await file.append([binding(1), binding(2, "bob"), binding(3)])
    await file.append([binding(1, "alice"), binding(3, phase=Phase.ENDED)])
    await file.close()
    expected = [binding(1, "alice"), binding(2, "bob"), binding(3, phase=Phase.ENDED)]
    assert await read(path) == (expected, 0)
    assert b'"expires": 4601.5' in path.read_bytes()  # the time of the wall
    assert os.listdir(tmp_path) == ["leases"]


async def test_a_file_cut_at_any_byte_loses_only_what_was_behind(tmp_path):
    path = tmp_path / "leases"
    file = file_at(path)
    await file.open()
    written = [binding(number, "x" * number) for number in range(1, 3)]
    await file.append(written)
    await file.close()
    whole = path.read_bytes()
    ends = [at + 1 for at, byte in enumerate(whole) if byte == 0x0A]
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        complete = sum(end <= size for end in ends)
        torn = size not in (0, *ends)
        assert await read(path) == (written[:complete], int(torn)), size
        assert await read(path) == (written[:complete], 0), size  # it has been written anew


async def test_a_byte_that_was_changed_costs_its_line(tmp_path):
    path = tmp_path / "leases"
    file = file_at(path)
    await file.open()
    await file.append([binding(1), binding(2), binding(3)])
    await file.close()
    whole = path.read_bytes()
    first, second = whole.index(b"\n") + 1, whole.index(b"\n", whole.index(b"\n") + 1)
    for at in range(first, second):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x01]) + whole[at + 1 :])
        found, damaged = await read(path)
        assert [one.address[3] for one in found] == [1, 3] and damaged


@pytest.mark.parametrize("content", [b"buy milk\n", b"no end of line", b"\xff\0\n\n", b"{}\n{}\n"])
async def test_a_file_of_something_else_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"notes\.txt is no lease file: no line of it can be read"):
        async with office(leases=path):
            pass
    assert path.read_bytes() == content and os.listdir(tmp_path) == ["notes.txt"]


async def test_a_damaged_file_is_kept_beside_and_said(tmp_path, caplog):
    path = tmp_path / "leases"
    file = file_at(path)
    await file.open()
    await file.append([binding(1), binding(2)])
    await file.close()
    assert (await read(path))[1] == 0 and os.listdir(tmp_path) == ["leases"] and not caplog.messages
    damaged = b"rubbish\n" + path.read_bytes()
    path.write_bytes(damaged)
    assert await read(path) == ([binding(1), binding(2)], 1)
    assert (tmp_path / "leases.damaged").read_bytes() == damaged
    assert caplog.messages == [
        f"{path}: lines that can not be read: 1; the file as it was is kept as {path}.damaged"
    ]


class Crash(BaseException):
    """The machine stops here."""


class Disk:
    """Stops before or after the Nth write, sync or rename. What has not been synced is on the disk in part."""

    def __init__(self, monkeypatch, stop_at, part):
        self.left, self.part, self.synced = stop_at, part, {}
        for name in ("_write", "_in_thread"):
            monkeypatch.setattr(lease_file, name, getattr(self, name), raising=False)
        monkeypatch.setattr(LeaseFile, "_write", staticmethod(self._write))
        self._replace = lease_file.aiofiles.os.replace
        monkeypatch.setattr(lease_file.aiofiles.os, "replace", self._rename)

    def step(self):
        self.left -= 1
        if self.left < 0:
            raise Crash

    async def _write(self, file, data):
        self.step()
        before = os.fstat(file.fileno()).st_size
        await file.write(data)
        await file.flush()
        try:
            self.step()
        except Crash:
            os.truncate(file.fileno(), before + int(len(data) * self.part))
            raise
        os.fsync(file.fileno())
        self.step()

    async def _in_thread(self, call, *arguments):
        self.step()
        call(*arguments)
        self.step()

    async def _rename(self, *paths):
        self.step()
        await self._replace(*paths)
        self.step()


@pytest.mark.parametrize("part", [0.0, 0.5, 0.99, 1.0])
async def test_the_machine_stops_at_every_step(tmp_path, monkeypatch, part):
    """With a file that is soon too long, so that it is rewritten often."""
    monkeypatch.setattr(lease_file, "SLACK", 2)
    for stop_at in range(200):
        path = tmp_path / f"leases{stop_at}"
        told, crashed = {}, False
        with monkeypatch.context() as patch:
            Disk(patch, stop_at, part)
            file = file_at(path)
            try:
                await file.open()
                for turn in range(12):
                    one = binding(turn % 3 + 1, f"turn{turn}")
                    if file.is_long(len(told)):
                        await file.rewrite([*(other for a, other in told.items() if a != one.address), one])
                    else:
                        await file.append([one])
                    told[one.address] = one
            except Crash:
                crashed = True
            await file.close()
        found = {one.address: one for one in (await read(path))[0]}
        for address, one in told.items():
            latest = int(found[address].hostname[4:])
            assert latest >= int(one.hostname[4:]), (stop_at, address)  # the one being written may be there
        if not crashed:
            break
    assert not crashed and stop_at > 40


async def test_a_server_knows_its_leases_after_a_restart(tmp_path):
    path = tmp_path / "leases"
    loop = asyncio.get_running_loop()
    async with office(leases=path, wall_clock=loop.time) as wire:
        ours = (await wire.lease(options={12: b"alice"})).message.yiaddr
        other = (await wire.lease(mac(2))).message.yiaddr
        wire.say(wire.message(Type.RELEASE, mac(2), {54: US}, ciaddr=other), other, US)
        await asyncio.sleep(1)
    await asyncio.sleep(1000)
    async with office(leases=path, wall_clock=loop.time) as wire:
        assert [one.hostname for one in wire.server.bindings] == ["alice"]
        assert (await anext(wire.server)).binding.address == ours
        assert (await wire.ask(Type.REQUEST, options={50: ours})).kind is Type.ACK
        assert (await wire.lease(mac(2))).message.yiaddr == other
    await asyncio.sleep(4000)
    async with office(leases=path, wall_clock=loop.time) as wire:
        await asyncio.sleep(1)
        assert wire.server.bindings == []
        assert (await wire.lease(mac(2))).message.yiaddr == other


async def test_what_was_declined_is_given_to_nobody_after_a_restart_either(tmp_path):
    """And the lease that its client has got instead is not forgotten for it."""
    path = tmp_path / "leases"
    file = file_at(path)
    await file.open()
    client, declined = binding(100).client, binding(101, phase=Phase.DECLINED)
    declined.client = client
    await file.append([binding(100), declined, binding(100)])
    await file.close()
    for _ in range(2):  # it reads its own file too
        async with office(leases=path, wall_clock=lambda: 1000.0, check=0) as wire:
            held = {one.address: one.phase for one in wire.server._machine.bindings.by_address.values()}
            assert held[inet_aton("10.0.0.100")] is Phase.BOUND
            assert held[inet_aton("10.0.0.101")] is Phase.DECLINED
            offer = await wire.ask(Type.DISCOVER, mac(100), {50: inet_aton("10.0.0.101")})
            assert offer.message.yiaddr == inet_aton("10.0.0.100")


async def test_who_has_declined_an_address_does_not_get_it_back_by_a_restart(tmp_path):
    path, pool = tmp_path / "leases", Pool(**POOL | {"last": "10.0.0.100"})
    async with office(pool, leases=path, check=0) as wire:
        ours = (await wire.lease()).message.yiaddr
        await wire.silence(Type.DECLINE, mac(1), {50: ours, 54: US})
    async with office(pool, leases=path, check=0) as wire:
        await wire.silence(Type.DISCOVER)
        assert (await wire.ask(Type.REQUEST, mac(1), {50: ours, 54: US})).kind is Type.NAK


async def test_no_acknowledgement_leaves_before_it_is_on_the_disk(tmp_path, monkeypatch):
    async with office(leases=tmp_path / "leases") as wire:
        steps = []
        write = LeaseFile._write

        async def slow(file, data):
            assert [seen.kind for seen in wire.seen] == []
            await asyncio.sleep(3)
            await write(file, data)
            steps.append(asyncio.get_running_loop().time())

        offers = [await wire.ask(Type.DISCOVER, mac(number)) for number in range(5)]
        monkeypatch.setattr(LeaseFile, "_write", staticmethod(slow))
        for number, offer in enumerate(offers):
            wire.say(wire.message(Type.REQUEST, mac(number), {50: offer.message.yiaddr, 54: US}))
        acks = [await wire.next(Type.ACK) for _ in range(5)]
        assert [ack.time for ack in acks] == steps * 5  # those that come together are written together


async def test_a_disk_that_refuses_costs_the_replies_and_nothing_else(tmp_path, monkeypatch):
    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    async with office(leases=tmp_path / "leases") as wire:
        offer = await wire.ask(Type.DISCOVER)
        request = {50: offer.message.yiaddr, 54: US}
        with monkeypatch.context() as patch:

            async def full(file, data):
                raise OSError(28, "No space left on device")

            patch.setattr(LeaseFile, "_write", staticmethod(full))
            await wire.silence(Type.REQUEST, mac(1), request)
        assert "can not keep leases in" in complaints[0]["message"] and len(complaints) == 1
        assert (await wire.ask(Type.REQUEST, mac(1), request)).kind is Type.ACK
    found, damaged = await read(tmp_path / "leases")
    assert [one.address for one in found] == [offer.message.yiaddr] and damaged == 0


async def test_two_servers_do_not_keep_one_file(tmp_path):
    path = tmp_path / "leases"
    async with office(leases=path) as wire:
        ours = (await wire.lease()).message.yiaddr
        for _ in range(2):
            with pytest.raises(OSError, match=f"{path} .* another DHCP server") as raised:
                async with office(leases=path):
                    pass
            assert raised.value.errno == errno.EBUSY
            await wire.server._keeping._file.rewrite([binding(100)])  # as it does now and then
        assert (await wire.lease(mac(2))).message.yiaddr != ours
    async with office(leases=path) as wire:
        assert len(wire.server.bindings) == 2


async def test_who_stops_waiting_for_the_disk_lets_go_of_the_file(tmp_path, monkeypatch):
    async with office(leases=tmp_path / "leases") as wire:
        offer = await wire.ask(Type.DISCOVER)

        async def stuck(file, data):
            await asyncio.sleep(1000)

        with monkeypatch.context() as patch:
            patch.setattr(LeaseFile, "_write", staticmethod(stuck))
            wire.say(wire.message(Type.REQUEST, mac(1), {50: offer.message.yiaddr, 54: US}))
            await asyncio.sleep(1)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await wire.server.__aexit__(None, None, None)
    assert await read(tmp_path / "leases") == ([], 0)


async def test_nobody_is_answered_before_the_file_is_read(tmp_path, monkeypatch):
    path = tmp_path / "leases"
    opened = LeaseFile.open

    async def slowly(file):
        await asyncio.sleep(5)
        return await opened(file)

    async with office(check=0) as wire:
        await wire.server.__aexit__(None, None, None)
        monkeypatch.setattr(LeaseFile, "open", slowly)
        server = DhcpServer(wire.server.stack, wire.server.interface, Pool(**POOL), leases=path, check=0)
        starting = asyncio.create_task(server.__aenter__())
        await asyncio.sleep(1)
        await wire.silence(Type.DISCOVER, seconds=3)
        await starting
        assert (await wire.ask(Type.DISCOVER)).kind is Type.OFFER
        await server.__aexit__(None, None, None)


async def test_a_lease_that_a_reservation_replaces_has_ended(tmp_path):
    path = tmp_path / "leases"
    async with office(leases=path) as wire:
        former = (await wire.lease()).message.yiaddr
    async with office(Pool(**POOL, reservations={mac(1).hex(":"): "10.0.0.9"}), leases=path) as wire:
        assert (await wire.lease()).message.yiaddr == inet_aton("10.0.0.9")
    events = [event async for event in wire.server]
    assert [event.binding.address for event in events if isinstance(event, BindingRemoved)] == [former]


CHILD = """
import asyncio, sys
sys.path.insert(0, sys.argv[2])
from asyncstack.testing.clock import run
from tests.application.dhcp.offices import mac, office

async def main():
    async with office(leases=sys.argv[1], check=0) as wire:
        for number in range(1, 100000):
            ack = await wire.lease(mac(number % 40), {12: b"n%d" % number})
            print(number, ack.message.yiaddr.hex(), flush=True)

run(main())
"""


@pytest.mark.parametrize("lines", [1, 17, 60])
async def test_a_process_that_is_killed_has_kept_every_lease_it_gave(tmp_path, lines):
    path, root = tmp_path / "leases", str(Path(__file__).parents[3])
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), root], stdout=subprocess.PIPE, text=True
    )
    told = {}
    for _ in range(lines):
        number, address = child.stdout.readline().split()
        told[address] = int(number)
    child.send_signal(signal.SIGKILL)
    told |= {address: int(number) for number, address in map(str.split, child.stdout.read().splitlines())}
    child.wait()
    child.stdout.close()
    assert len(told) >= min(lines, 40)
    found = {one.address.hex(): int(one.hostname[1:] or 0) for one in (await read(path))[0]}
    assert all(found[address] >= number for address, number in told.items())
    assert Pool(**POOL).offers(bytes.fromhex(next(iter(told))))
