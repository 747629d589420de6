import pytest

from asyncstack.errors import WireError
from asyncstack.wire import domains


def test_names_there_and_back():
    built = domains.build(["example.org.", "a_b.c-1"])
    assert built == b"\7example\3org\0\3a_b\3c-1\0"
    assert domains.parse(memoryview(built + bytes(5))) == ["example.org", "a_b.c-1"]


@pytest.mark.parametrize(
    "data", [b"\1", b"\1a", b"\3ab\0", b"\xc0\0", b"\1.\0", b"\1\xe4\0", b"\x40" + b"a" * 64 + b"\0"]
)
def test_what_holds_no_names_is_refused(data):
    with pytest.raises(WireError):
        domains.parse(data)


def test_the_longest_name():
    longest = ".".join(["a" * 63] * 3 + ["b" * 61])
    built = domains.build([longest])
    assert (len(built), domains.parse(built)) == (255, [longest])
    with pytest.raises(ValueError):
        domains.build([longest + "c"])
    with pytest.raises(WireError):
        domains.parse(b"\x3f" + b"a" * 63 + built)


@pytest.mark.parametrize("name", ["", ".", "a..b", "ä.org", "a b", "a" * 64])
def test_what_is_no_domain_can_not_be_built(name):
    with pytest.raises(ValueError, match="domain name"):
        domains.build([name])
