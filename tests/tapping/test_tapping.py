"""What is taken of a process that a test has started, and that the judges see what is wrong in it."""

import sys
from pathlib import Path

import pytest

from asyncstack.wire import tcp, udp
from tests.interop.tshark import OUTGOING, faults_by_file, faults_by_interface, packets_in
from tests.link.devices import ip_frame
from tests.running import Running
from tests.sampling import SAMPLING, Sampling, made_by
from tests.tapping.joining import join
from tests.tapping.packet_taps import CAPTURES, FOLDER, TEST

NAME = "tests/some/test_file.py::test_of[a/b]"

PROGRAM = """
import asyncio, os, sys, time
from asyncstack import Capture, Stack, memory_pair
from asyncstack.link.frame import OutgoingFrame

async def main():
    device, _ = memory_pair()
    async with Stack() as stack, Capture(f"{sys.argv[1]}/{os.getpid()}.pcapng") as capture:
        interface = await stack.add_interface(device)
        capture.attach(interface)
        for data in sys.argv[2:]:
            interface.transmit(OutgoingFrame([bytes.fromhex(data)]))

forked = os.fork()
asyncio.run(main())
if forked:
    os.waitpid(forked, 0)
    print("sent", flush=True)
    time.sleep(60)
"""


def packet(protocol: int, transport: bytes) -> str:
    return b"".join(ip_frame("10.9.0.1", "10.9.0.2", protocol, transport).parts).hex()


GOOD = packet(17, udp.build(7000, 7001, 0, 0))
WRONG_CHECKSUM = packet(6, tcp.build(tcp.Segment(7000, 7001, 1, 1, tcp.ACK, 100), 0x1234))
MALFORMED = packet(17, udp.build(5000, 53, 2, 0) + b"??")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where what is taken goes, instead of among what this run is judged by."""
    (tmp_path / "taken/kept").mkdir(parents=True)
    return tmp_path / "taken"


def send(folder: Path, *packets: str, test: str = NAME) -> None:
    """Two processes, one forked from the other, that send them, capture them, and are killed at last."""
    environment = {FOLDER: str(folder), TEST: test, CAPTURES: "kept"}
    with Running(
        sys.executable, "-c", PROGRAM, str(folder.parent), *packets, environment=environment
    ) as sender:
        assert sender.line() == "sent"


async def test_what_two_processes_send_and_capture_is_judged(folder):
    send(folder, GOOD, GOOD)
    processes, captures = sorted(folder.glob("*.pcapng")), sorted((folder / "kept").iterdir())
    assert len(processes) == len(captures) == 2
    assert await packets_in(processes) == await packets_in(captures) == 4
    assert await faults_by_file(captures) == {}
    for path in processes:
        assert await faults_by_interface(path) == {}


@pytest.mark.parametrize("bad", [WRONG_CHECKSUM, MALFORMED], ids=["checksum", "malformed"])
async def test_a_fault_is_told_with_its_test_file_and_packet(folder, bad):
    send(folder, GOOD, bad)
    for path in folder.glob("*.pcapng"):
        found = await faults_by_interface(path)
        assert [lines[0].split("\t")[0] for lines in found.values()] == ["2"]
        assert list(found) == [NAME]
    found = await faults_by_file((folder / "kept").iterdir())
    assert await faults_by_file((folder / "kept").iterdir(), OUTGOING) == found
    assert [made_by(path) for path in found] == [NAME] * 2
    assert [line.split()[0] for lines in found.values() for line in lines] == ["2"] * 2


async def test_whose_fault_it_is_in_all_files_together(folder):
    names = [NAME, "tests/other/test_file.py::test_it"]
    for name in names:
        send(folder, GOOD, WRONG_CHECKSUM, test=name)
    join(folder.glob("*.pcapng"), folder / "all")
    found = await faults_by_interface(folder / "all")
    assert {name: len(lines) for name, lines in found.items()} == dict.fromkeys(names, 2)
    join(folder.glob("*.pcapng"), folder / "one", NAME)
    assert list(await faults_by_interface(folder / "one")) == [NAME]
    assert await packets_in([folder / "one"]) == 4
    cut = next(folder.glob("*.pcapng"))
    cut.write_bytes(cut.read_bytes()[:-10])
    with pytest.raises(ValueError, match=rf"{cut.name} ends within a block"):
        join([cut], folder / "all")


async def test_a_capture_cut_short_is_told(folder):
    send(folder, GOOD, GOOD)
    cut, _ = sorted((folder / "kept").iterdir())
    cut.write_bytes(cut.read_bytes()[:-10])
    [(path, [line])] = (await faults_by_file((folder / "kept").iterdir())).items()
    assert path == cut and "cut short" in line


def test_nothing_is_taken_where_a_test_forges(folder):
    send(folder, WRONG_CHECKSUM, test="")
    assert [path.name for path in folder.rglob("*")] == ["kept"]


@pytest.mark.parametrize("marker", ["forges", "hostile"])
def test_who_is_not_judged_says_why(request, marker):
    sampling: Sampling = request.config.stash[SAMPLING]
    request.node.add_marker(marker)
    with pytest.raises(pytest.UsageError, match=rf"test_who_is_not_judged.*: {marker}\(\"what"):
        sampling.pytest_collection_modifyitems([request.node])
