"""The words that `add_interface` takes in the place of an address."""

import pytest

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
