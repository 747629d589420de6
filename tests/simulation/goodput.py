"""The golden table of goodput: asyncstack to asyncstack over a bad link in virtual time, for each congestion control.

`make golden` computes it anew and writes goodput.txt, which is in the repository: a change that costs or gains
goodput shows in review. `test_golden.py` holds it to the letter. The link is that of `make bench-loss`: 100 Mbit/s,
a queue of one bandwidth-delay product or at least 64 KiB, the same loss both ways; the transfer begins with the
handshake and is looked at `SECONDS` after the server saw it.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asyncstack import StackConfig, TcpConfig
from asyncstack.testing import Network, run
from asyncstack.transport.tcp.congestion import Controllers
from tests.bulk import Sink, Source

GOLDEN: Final = Path(__file__).with_name("goodput.txt")
RATE: Final = 100e6  # bit/s
SMALLEST_QUEUE: Final = 64 << 10  # bytes
SECONDS: Final = 10.0
LOSSES: Final = (0.0, 0.001, 0.01, 0.03, 0.10)
TRIPS: Final = (0.001, 0.020, 0.100)  # RTT, seconds
SEEDS: Final = 3
PORT: Final = 5001
NAME, LOSS, TRIP, VALUE = 8, 6, 8, 8  # widths of the columns

HEADER: Final = f"""\
Goodput in Mbit/s of {SECONDS:g} s over {RATE / 1e6:g} Mbit/s, asyncstack to asyncstack, in virtual time.
By congestion control, loss (each way), and round-trip time; the median, and the run of each seed.
Made by `make golden`; tests/simulation/test_golden.py holds it to the letter.

"""


def controllers() -> list[str]:
    """The congestion controls of a table: all that come with the stack, known ones first."""
    known = {name: rank for rank, name in enumerate(("reno", "cubic", "bbr"))}
    return sorted(Controllers().names, key=lambda name: (known.get(name, len(known)), name))


def queue_of(trip: float) -> int:
    """Bytes that may wait before the bottleneck of a path with that RTT."""
    return max(int(RATE * trip / 8), SMALLEST_QUEUE)


@dataclass(frozen=True)
class Cell:
    """One run: its conditions and its seed."""

    congestion: str
    loss: float
    trip: float  # seconds
    seed: int

    @property
    def label(self) -> str:
        """The cell's row, up to the numbers."""
        return f"{self.congestion:{NAME}}{f'{self.loss:.1%}':>{LOSS}}{f'{self.trip * 1e3:g} ms':>{TRIP}}"


async def _transfer(cell: Cell) -> float:
    loop = asyncio.get_running_loop()
    config = StackConfig(tcp=TcpConfig(congestion=cell.congestion))
    async with Network(cell.seed, config=config) as net:
        a, b = net.host("a", "10.0.0.1/24"), net.host("b", "10.0.0.2/24")
        net.link(a, b, delay=cell.trip / 2, loss=cell.loss, rate=RATE, queue=queue_of(cell.trip))
        opened: asyncio.Future[Sink] = loop.create_future()
        await b.create_server(lambda: Sink(opened), "b", PORT)
        transport, _ = await a.create_connection(Source, "b", PORT)
        sink = await opened
        await asyncio.sleep(SECONDS)
        goodput = sink.received * 8 / SECONDS
        transport.abort()
    return goodput


def goodput(cell: Cell) -> float:
    """Mbit/s, as the table has it."""
    return round(run(_transfer(cell), seed=cell.seed) / 1e6, 2)


def all_cells(names: Iterable[str]) -> list[Cell]:
    """Every run of the table, in the order of its rows."""
    return [
        Cell(name, loss, trip, seed)
        for name in names
        for loss in LOSSES
        for trip in TRIPS
        for seed in range(1, SEEDS + 1)
    ]


def row(label: str, values: list[float]) -> str:
    """A line of the table."""
    cells = "".join(f"{value:{VALUE}.2f}" for value in values)
    return f"{label}{statistics.median(values):{VALUE + 2}.2f}  |{cells}\n"


def table(names: Iterable[str]) -> str:
    """The whole text, computed on all processors."""
    names = list(names)
    cells = all_cells(names)
    with ProcessPoolExecutor() as pool:
        values = list(pool.map(goodput, cells))
    title = f"{'control':{NAME}}{'loss':>{LOSS}}{'RTT':>{TRIP}}{'median':>{VALUE + 2}}  |"
    title += "".join(f"{f'seed {seed}':>{VALUE}}" for seed in range(1, SEEDS + 1)) + "\n"
    return HEADER + title + "".join(_rows(cells, values))


def _rows(cells: list[Cell], values: list[float]) -> Iterator[str]:
    for at in range(0, len(cells), SEEDS):
        if at and cells[at].congestion != cells[at - 1].congestion:
            yield "\n"
        yield row(cells[at].label, values[at : at + SEEDS])


def read_golden() -> dict[str, list[str]]:
    """Label of a row -> its numbers as they are written: the median, then one for each seed."""
    rows = {}
    for line in GOLDEN.read_text().splitlines():
        left, bar, seeds = line.partition("|")
        if bar and "%" in left:
            rows[left[: NAME + LOSS + TRIP]] = [left[NAME + LOSS + TRIP :].strip(), *seeds.split()]
    return rows


if __name__ == "__main__":
    text = table(controllers())
    GOLDEN.write_text(text)
    print(text, end="")
