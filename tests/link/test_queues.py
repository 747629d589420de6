"""Several queues of one TUN: the kernel spreads the flows, and keeps each where it is."""

import errno
import os
import socket
from collections import Counter
from contextlib import ExitStack

import pytest

from asyncstack.link.attach import IFF_TAP, IFF_TUN, attach, attach_queues
from tests.netns import NetworkNamespace

pytestmark = pytest.mark.tun

UDP_HEADERS = 28
COUNT, FLOWS = 3, 90


@pytest.fixture
def queues(netns: NetworkNamespace):
    """The queues of as0, which is up."""
    attachments = attach_queues("as0", IFF_TUN, False, COUNT)
    netns.run("ip", "address", "add", "10.9.0.1/24", "dev", "as0")
    netns.run("ip", "link", "set", "as0", "up")
    yield [attachment.fd for attachment in attachments]
    for attachment in attachments:
        os.close(attachment.fd)


def packets(fd: int) -> list[bytes]:
    """What waits in a queue: the payloads of UDP."""
    found = []
    while True:
        try:
            packet = os.read(fd, 2000)
        except BlockingIOError:
            return found
        if packet[0] >> 4 == 4 and packet[9] == socket.IPPROTO_UDP:
            found.append(packet[UDP_HEADERS:])


def test_a_flow_keeps_to_its_queue(queues):
    with ExitStack() as stack:
        flows = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(FLOWS)]
        rounds = []
        for _ in range(3):
            for number, flow in enumerate(flows):
                flow.sendto(b"%d" % number, ("10.9.0.2", 53))
            rounds.append({payload: index for index, fd in enumerate(queues) for payload in packets(fd)})
    assert len(rounds[0]) == FLOWS
    assert rounds[0] == rounds[1] == rounds[2]
    assert set(Counter(rounds[0].values())) == set(range(COUNT))


def test_an_interface_without_queues(netns):
    single = attach("as0", IFF_TUN, False)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(
        OSError, match=r"as0 can not have several queues: .* mode tun multi_queue user"
    ) as raised:
        attach_queues("as0", IFF_TUN, False, 2)
    assert raised.value.errno == errno.EINVAL
    assert len(os.listdir("/proc/self/fd")) == before
    os.close(single.fd)


def test_an_interface_of_the_other_kind(queues):
    with pytest.raises(OSError, match="as0 can not have several queues: it is no tap"):
        attach_queues("as0", IFF_TAP, False, 2)


def test_the_name_that_the_kernel_chose_is_that_of_all(netns):
    attachments = attach_queues("", IFF_TUN, True, 2)
    assert len({attachment.name for attachment in attachments}) == 1
    assert all(attachment.vnet_header for attachment in attachments)
    for attachment in attachments:
        os.close(attachment.fd)
