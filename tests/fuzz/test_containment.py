"""A defect of ours, should there be one: it costs the frame or the turn that met it, never the interface."""

import pytest

from asyncstack.wire import icmp
from tests.fuzz.world import OURS, SCRIPTED, World, ip_packet

pytestmark = pytest.mark.virtual_time

ECHO = ip_packet(SCRIPTED[0], OURS[0], 1, icmp.build_echo(1, 1, b"still there?"))


class Broken:
    """A sender that fails when its turn comes."""

    queued = False
    turns = 0

    def transmit(self, now, quantum):
        self.turns += 1
        raise LookupError("a defect")

    def unreachable(self, error):
        pass


class Sound(Broken):
    def transmit(self, now, quantum):
        self.turns += 1
        return self.turns < 3


async def test_a_sender_that_raises_costs_neither_the_others_nor_the_interface():
    async with World("memory", 1) as world:
        broken, sound = Broken(), Sound()
        world.interface.mark_ready(broken)
        world.interface.mark_ready(sound)
        await world.settle()
        assert (broken.turns, sound.turns) == (1, 3)
        world.interface._receiving = True  # as if it became ready while a batch was received
        world.interface.mark_ready(broken)
        world.interface._receiving = False
        world.say(ECHO)
        await world.settle()
        assert broken.turns == 2
        world.say(ECHO)
        await world.settle()
        assert world.stack.counters["icmp.echo_replies"] == 2
        assert world.stack.counters["interface.send_error"] == 2
        assert [type(context["exception"]) for context in world.reported] == [LookupError] * 2


async def test_a_layer_that_raises_costs_the_frame():
    async with World("memory", 1) as world:

        async def broken(data, frame, interface):
            raise LookupError("a defect")

        handlers = world.interface.handlers
        sound, handlers[0x0800] = handlers[0x0800], broken
        world.say(ECHO)
        await world.settle()
        handlers[0x0800] = sound
        world.say(ECHO)
        await world.settle()
        assert world.stack.counters["icmp.echo_replies"] == 1
        assert world.stack.counters["interface.receive_error"] == 1
        assert [context["frame"] for context in world.reported] == [ECHO]
