"""An interface that is to get its addresses from sources: what is waited for, what becomes of failures."""

import asyncio
import errno

import pytest

from asyncstack import InterfaceDown, LinkDown, LinkUp, SourceFailed, Stack, StackConfig, sources
from asyncstack.link.memory import memory_pair
from asyncstack.network.addresses import Origin

ADDRESS = bytes([10, 1, 0, 9])


class Scripted:
    """A source that does what its test has put into `script`, by the source's name."""

    name = "dhcp4"

    def __init__(self, stack, interface, *, timeout):
        self.stack, self.interface, self.timeout = stack, interface, timeout
        self.log = stack.log
        self.waits, self.fails = stack.script.get(self.name, (0.0, None))

    async def start(self):
        self.log.append(f"{self.name} starts")
        await asyncio.sleep(min(self.waits, self.timeout))
        if self.waits > self.timeout:
            raise TimeoutError(f"no answer within {self.timeout:g} s")
        if self.fails is not None:
            raise self.fails
        if self.name == "dhcp4":
            self.stack.add_address(self.interface, ADDRESS, 24, origin=Origin.DHCP4)
        self.log.append(f"{self.name} has one")

    async def stop(self):
        self.log.append(f"{self.name} stops, {'up' if self.interface.up else 'down'}")
        await asyncio.sleep(self.stack.script.get("stop", 0.0))
        self.log.append(f"{self.name} has stopped")

    def link_down(self):
        self.log.append(f"{self.name} waits")

    def link_up(self):
        self.log.append(f"{self.name} asks again")


class Other(Scripted):
    name = "slaac"


class Configured(Stack):
    """A stack with the script of its sources, and what they did."""

    def __init__(self, script, config=None):
        super().__init__(config)
        self.script, self.log, self.seen = script, [], []
        self.subscribe(self.seen.append)


@pytest.fixture(autouse=True)
def scripted(monkeypatch):
    for kind in (Scripted, Other):
        monkeypatch.setitem(sources._KINDS, kind.name, (__name__, kind.__name__))


def device():
    return memory_pair(("near", "far"), ethernet=True)[0]


@pytest.mark.virtual_time
async def test_every_word_is_waited_for():
    async with Configured({"dhcp4": (2.0, None), "slaac": (3.0, None)}) as stack:
        began = stack.clock()
        interface = await stack.add_interface(device(), ["slaac", "dhcp4", "10.1.0.1/24"], "10.1.0.254")
        assert stack.clock() - began == 3.0
        assert stack.log == ["slaac starts", "dhcp4 starts", "dhcp4 has one", "slaac has one"]
        assert [str(entry) for entry in stack.addresses.of(interface)] == ["10.1.0.1/24", "10.1.0.9/24"]
        assert stack.routes.lookup(bytes([192, 0, 2, 1])).next_hop == bytes([10, 1, 0, 254])


@pytest.mark.virtual_time
async def test_what_is_late_is_said_and_the_interface_is_gone():
    async with Configured({"dhcp4": (50.0, None), "slaac": (5.05, None)}) as stack:
        text = r"near after 5\.0 s: slaac: no answer within 5 s; dhcp4: no answer within 5 s$"
        with pytest.raises(TimeoutError, match=text):
            await stack.add_interface(device(), ["slaac", "dhcp4", "10.1.0.1/24"], timeout=5.0)
        assert [interface.name for interface in stack.interfaces] == ["lo"]
        assert stack.log[-2:] == ["slaac has stopped", "dhcp4 has stopped"]
        await asyncio.sleep(0)
        assert isinstance(stack.seen[-1], InterfaceDown)


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (OSError(errno.EADDRINUSE, "10.1.0.9 is 02:…:01's"), OSError, r"near: dhcp4: 10\.1\.0\.9 is 02"),
        (ValueError("a defect"), ValueError, "a defect"),
    ],
)
async def test_the_first_failure_ends_it(error, kind, text):
    async with Configured({"dhcp4": (1.0, error), "slaac": (20.0, None)}) as stack:
        began = stack.clock()
        with pytest.raises(kind, match=text) as caught:
            await stack.add_interface(device(), ["slaac", "dhcp4"])
        assert stack.clock() - began == 1.0
        assert getattr(caught.value, "errno", None) == getattr(error, "errno", None)
        assert [interface.name for interface in stack.interfaces] == ["lo"]
        assert not stack._configurations


@pytest.mark.virtual_time
async def test_nobody_waits():
    failure = OSError(errno.EADDRINUSE, "taken")
    async with Configured({"dhcp4": (1.0, None), "slaac": (2.0, failure)}) as stack:
        began = stack.clock()
        interface = await stack.add_interface(device(), ["dhcp4", "slaac", "10.1.0.1/24"], wait=False)
        assert stack.clock() == began
        await asyncio.sleep(2.5)
        assert [str(entry) for entry in stack.addresses.of(interface)] == ["10.1.0.1/24", "10.1.0.9/24"]
        assert stack.seen[-1] == SourceFailed(interface, "slaac", failure)


@pytest.mark.virtual_time
async def test_sources_hear_of_the_link():
    async with Configured({}) as stack:
        near = device()
        interface = await stack.add_interface(near, ["dhcp4"])
        for up in (False, False, True):
            near.set_link(up)
            assert interface.running is up
        assert stack.log[-2:] == ["dhcp4 waits", "dhcp4 asks again"]
        await asyncio.sleep(0)
        assert stack.seen[-2:] == [LinkDown(interface), LinkUp(interface)]
        assert stack.addresses.of(interface)


@pytest.mark.virtual_time
async def test_a_removed_interface_gives_back_while_it_is_up():
    async with Configured({}) as stack:
        interface = await stack.add_interface(device(), ["dhcp4"])
        await stack.remove_interface(interface)
        assert stack.log[-2:] == ["dhcp4 stops, up", "dhcp4 has stopped"]
        await stack.remove_interface(interface)
        assert stack.log.count("dhcp4 has stopped") == 1


@pytest.mark.virtual_time
async def test_a_closed_stack_gives_back_within_its_time():
    stack = Configured({"stop": 60.0}, StackConfig(close_timeout=0.5))
    await stack.add_interface(device(), ["dhcp4"])
    began = stack.clock()
    await stack.close()
    assert stack.log[-1] == "dhcp4 stops, up"
    assert stack.clock() - began == pytest.approx(0.5)


@pytest.mark.virtual_time
async def test_a_device_that_dies_ends_its_sources():
    async with Configured({}) as stack:
        near = device()
        await stack.add_interface(near, ["dhcp4"])
        near.set_down()
        await asyncio.sleep(0.1)
        assert stack.log[-2:] == ["dhcp4 stops, down", "dhcp4 has stopped"]


@pytest.mark.virtual_time
async def test_an_interface_that_is_removed_while_it_is_configured():
    async with Configured({"dhcp4": (10.0, None)}) as stack:
        adding = asyncio.create_task(stack.add_interface(device(), ["dhcp4"]))
        await asyncio.sleep(1.0)
        await stack.remove_interface(stack.interfaces[-1])
        with pytest.raises(OSError, match="near was removed while it was configured"):
            await adding


@pytest.mark.virtual_time
async def test_who_waits_for_the_interface_does_not_end_it_before_its_sources_have_ended():
    """They say goodbye over it: DHCP gives its lease back."""
    async with Configured({"dhcp4": (10.0, None), "stop": 0.8}) as stack:
        adding = asyncio.create_task(stack.add_interface(device(), ["dhcp4"]))
        await asyncio.sleep(1.0)
        [_, interface] = stack.interfaces
        removing = asyncio.create_task(stack.remove_interface(interface))
        await asyncio.sleep(0.5)
        assert interface.up and not adding.done()
        await removing
        with pytest.raises(OSError, match="near was removed while it was configured"):
            await adding
        assert stack.log[-1] == "dhcp4 has stopped" and not stack._configurations


@pytest.mark.virtual_time
async def test_a_cancelled_add_leaves_nothing():
    async with Configured({"dhcp4": (10.0, None)}) as stack:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await stack.add_interface(device(), ["dhcp4"])
        assert [interface.name for interface in stack.interfaces] == ["lo"]
        assert stack.log[-1] == "dhcp4 has stopped"


async def test_attach_can_not_wait():
    async with Stack() as stack:
        with pytest.raises(ValueError, match="can not wait for dhcp4, slaac: use `await add_interface"):
            stack.attach(device(), ["dhcp4", "slaac"])
        with pytest.raises(ValueError, match="'dhcp' is no source"):
            stack.attach(device(), ["dhcp"])
        assert len(stack.interfaces) == 1
