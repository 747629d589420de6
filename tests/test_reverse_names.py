"""From addresses to names, in a hosts table that changes."""

from collections import UserDict
from ipaddress import ip_address

from asyncstack.names import ReverseNames


def packed(text):
    return ip_address(text).packed


class Counted(UserDict):
    """A table that counts how often it is gone through."""

    passes = 0

    def items(self):
        self.passes += 1
        return super().items()


def test_what_is_there_is_found_without_going_through_the_table_again():
    table = Counted(
        {f"h{number}": [f"10.0.{number >> 8}.{number & 255}", f"fd00::{number:x}"] for number in range(1000)}
    )
    names = ReverseNames(table)
    for number in range(1000):
        assert names.name_of(packed(f"fd00::{number:x}")) == f"h{number}"
    assert table.passes == 1
    assert names.name_of(packed("10.0.9.9")) is None
    assert table.passes == 2


def test_what_changes_counts_at_once():
    table = {"a": ["10.0.0.1"], "b": "10.0.0.2"}
    names = ReverseNames(table)
    assert names.name_of(packed("10.0.0.1")) == "a"
    table["a"].append("10.0.0.3")
    assert names.name_of(packed("10.0.0.3")) == "a"
    table["a"][0] = "10.0.0.4"
    assert names.name_of(packed("10.0.0.1")) is None
    assert names.name_of(packed("10.0.0.4")) == "a"
    table["c"] = table.pop("b")
    assert names.name_of(packed("10.0.0.2")) == "c"
    table.clear()
    assert names.name_of(packed("10.0.0.2")) is None


def test_of_several_the_first_and_of_what_is_no_address_none():
    table = {"first": "fd00::1", "second": ["FD00:0::1", "nowhere", "10.1"]}
    names = ReverseNames(table)
    assert names.name_of(packed("fd00::1")) == "first"
    del table["first"]
    assert names.name_of(packed("fd00::1")) == "second"
    assert names.name_of(packed("10.0.0.1")) == "second"  # as inet_aton has it
    assert names.name_of(b"") is None


def test_names_that_are_gone_leave_nothing():
    table = {}
    names = ReverseNames(table)
    for number in range(5000):
        table.clear()
        table["only"] = f"fd00::{number:x}"
        assert names.name_of(packed(f"fd00::{number:x}")) == "only"
    assert len(names._names) == 1
    assert len(names._parsed) <= 3
