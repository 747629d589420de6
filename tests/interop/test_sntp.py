"""Our SNTP client asks chronyd, which is not let near the clock of the machine (-x)."""

import asyncio
import errno
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from asyncstack.application import sntp
from asyncstack.wire import ntp
from tests.interop.kernel import until
from tests.interop.medium import PEER, PEER6, TAP, TUN, host
from tests.programs import require_program

pytestmark = pytest.mark.tun

STRATUM = 8
SYNCHRONIZED = f"local stratum {STRATUM}"


def is_open(kind):
    """Whether somebody on the kernel's side receives what comes to the port of NTP."""
    sockets = Path(f"/proc/thread-self/net/{kind}").read_text().splitlines()[1:]
    return any(line.split()[1].endswith(f":{ntp.PORT:04X}") for line in sockets)


@asynccontextmanager
async def chronyd(folder, *lines):
    """chronyd for everybody on the kernel's side, with `lines` in its configuration."""
    config = folder / "chrony.conf"
    config.write_text("\n".join(["allow", "cmdport 0", f"pidfile {folder}/pid", "user root", *lines, ""]))
    process = await asyncio.create_subprocess_exec(
        require_program("chronyd"), "-d", "-x", "-f", str(config), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await until(lambda: all(map(is_open, ("udp", "udp6"))))
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@pytest.mark.parametrize(("medium", "peer"), [(TUN, PEER), (TAP, PEER6)])
@pytest.mark.parametrize("ahead", [0.0, 1000.0, -1e9])
async def test_the_offset_is_within_the_round_trip(medium, peer, ahead, checked_capture, tmp_path):
    """The clock that we read is chronyd's own, or goes ahead of it."""
    async with host(medium) as made, chronyd(tmp_path, SYNCHRONIZED):
        checked_capture.attach(made.interface)
        reading = await sntp.query(made.stack, peer, now=lambda: time.time() + ahead)
        precision = 1e-3 if ahead else 1e-4  # a float has 53 bits
        assert abs(reading.offset + ahead) <= reading.delay / 2 + precision
        assert abs(reading.time - time.time()) < 1.0
        assert 0.0 <= reading.delay < 1.0
        assert (reading.stratum, reading.leap) == (STRATUM, 0)
        assert reading.reference == "7f7f0101"  # what chronyd calls its own clock: 127.127.1.1


async def test_a_server_that_has_the_time_from_nobody(checked_capture, tmp_path):
    async with host(TUN) as made, chronyd(tmp_path):
        checked_capture.attach(made.interface)
        with pytest.raises(OSError, match=f"the time server {PEER} does not know the time itself") as raised:
            await sntp.query(made.stack, PEER)
        assert raised.value.errno == errno.EPROTO


async def test_a_server_that_answers_only_now_and_then(checked_capture, tmp_path):
    """chronyd's limit of rates is silence, for most of the questions that come too soon."""
    limit = "ratelimit interval 12 burst 1 leak 4"
    async with host(TUN) as made, chronyd(tmp_path, SYNCHRONIZED, limit):
        checked_capture.attach(made.interface)
        await sntp.query(made.stack, PEER)
        answers = await asyncio.gather(
            *(sntp.query(made.stack, PEER, timeout=1.0) for _ in range(16)), return_exceptions=True
        )
        silent = [answer for answer in answers if isinstance(answer, TimeoutError)]
        assert silent
        assert f"no answer from the time server {PEER} within 1 s" in str(silent[0])


async def test_none_is_there(checked_capture):
    async with host(TAP) as made:
        checked_capture.attach(made.interface)
        with pytest.raises(ConnectionRefusedError):
            await sntp.query(made.stack, PEER6)
