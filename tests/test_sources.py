"""The words that `add_interface` takes in the place of an address."""

import errno

import pytest

from asyncstack import Stack
from asyncstack.link.memory import memory_pair
from asyncstack.sources import check_word, is_word, make_source


@pytest.mark.parametrize("text", ["dhcp4", "slaac", "dhcp6", "link-local", "DHCP", "slack"])
def test_what_is_meant_as_a_word(text):
    assert is_word(text)


@pytest.mark.parametrize(
    "text", ["10.0.0.1/24", "fd00::1/64", "::1", "fe80::1", "example.org", "", "-", "1e1"]
)
def test_what_is_no_word(text):
    assert not is_word(text)


def test_an_unknown_word_is_told_which_there_are():
    with pytest.raises(ValueError, match=r"'dhcp' is no source.*dhcp4, slaac, dhcp6, link-local"):
        check_word("dhcp")
    with pytest.raises(ValueError, match="'dhcp' is no source"):
        make_source("dhcp", None, None, 1.0)


@pytest.mark.parametrize("word", ["dhcp4", "slaac", "dhcp6", "link-local"])
async def test_a_word_is_refused_at_once_without_ethernet(word):
    async with Stack() as stack:
        device, _ = memory_pair()
        with pytest.raises(OSError, match=r"on memory.*, which is no Ethernet") as info:
            await stack.add_interface(device, [word])
        assert info.value.errno == errno.EOPNOTSUPP and len(stack.interfaces) == 1  # lo


async def test_bad_use():
    async with Stack() as stack:
        device, _ = memory_pair()
        with pytest.raises(TypeError, match=r"'as4' is no device: give one, such as TunDevice\('as4'\)"):
            await stack.add_interface("as4", ["10.0.0.2/24"])
        with pytest.raises(TypeError, match=r"addresses=\[None\]: give text, such as '10\.0\.0\.2/24'"):
            await stack.add_interface(device, [None])
        with pytest.raises(ValueError, match=r"timeout=0: give seconds, more than 0"):
            await stack.add_interface(device, timeout=0)
        for call in (stack.add_interface, stack.attach):
            with pytest.raises(
                ValueError, match=r"'10\.0\.0\.2' needs a prefix length, such as 10\.0\.0\.2/24"
            ):
                await call(device, ["10.0.0.2"])
        assert [one.name for one in stack.interfaces] == ["lo"]
