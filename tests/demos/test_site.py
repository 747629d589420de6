"""The demo site in a real browser: what its charts show is held against the packets of the same seconds."""

import json
import shlex
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.demos import packets
from tests.programs import require_package, require_program
from tests.running import Running, run

SEGMENT = 1448  # bytes of payload in a full one
TWO_PERCENT = "8"  # the slider's step
QUIET = [
    "--no-sandbox",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
]


@dataclass
class Point:
    """A point of a chart, as it was drawn."""

    t0: float
    t1: float
    value: float


@dataclass
class Seen:
    """What the browser saw, and how the demo ended."""

    goodput: list[Point]  # Mbit/s
    cwnd: list[Point]  # KiB
    misdrawn: int  # points of the goodput without ink of its colour where they belong
    port: int  # the client's, of the transfer
    changed: float  # when a sample told of the new loss
    changes: list[str]  # labels of the vertical lines
    loss: str  # beside its slider, with the first sample
    rows: list[list[str]]
    complaints: list[str]  # errors of the page
    hosts: set[str]  # asked for anything
    ended: tuple[int, str, str]
    capture: Path


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """One visit, of about ten seconds, for all the tests."""
    chromium = require_program("chromium")
    playwright = require_package("playwright.sync_api")
    folder = tmp_path_factory.mktemp("site")
    capture = folder / "faulty.pcapng"
    recipe = run(
        "env",
        "-u",
        "MAKEFLAGS",
        "-u",
        "MAKELEVEL",
        "make",
        "-n",
        "demo",
        f"DEMO=--publish 127.0.0.1:0 --seed 3 --capture {capture}",
    ).stdout
    with Running(*shlex.split(recipe.splitlines()[-1])) as demo, playwright.sync_playwright() as driver:
        url = demo.url()
        browser = driver.chromium.launch_persistent_context(
            folder / "profile", executable_path=chromium, args=QUIET, viewport={"width": 1280, "height": 900}
        )
        page = browser.pages[0]
        complaints: list[str] = []
        hosts: set[str] = set()
        page.on(
            "console",
            lambda message: message.type in ("error", "warning") and complaints.append(message.text),
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
        page.on("websocket", lambda socket: hosts.add(urlsplit(socket.url).netloc))
        page.goto(url)
        page.wait_for_selector("#status[data-state=live]", timeout=15000)
        page.wait_for_function("charts.goodput.points?.[0]?.length > 0", timeout=15000)
        loss = page.locator("output[for=loss]").inner_text()
        page.wait_for_function("charts.goodput.points[0]?.length >= 24", timeout=30000)
        page.fill("#loss", TWO_PERCENT)
        changed = page.wait_for_function("charts.goodput.changes?.at(-1)?.t", timeout=15000).json_value()
        page.wait_for_function(f"charts.goodput.end > {changed} + 4", timeout=20000)
        drawn = json.loads(page.evaluate("JSON.stringify([charts.goodput.points[0], charts.cwnd.points[0]])"))
        goodput, cwnd = ([Point(**point) for point in points] for points in drawn)
        misdrawn = page.evaluate(MISDRAWN)
        changes = page.evaluate("charts.goodput.changes.map(({text}) => text)")
        rows = page.evaluate(
            "[...document.querySelectorAll('tbody tr')].map((r) => r.innerText.split('\\t'))"
        )
        before_the_end = list(complaints)
        ended = demo.end()
        page.wait_for_selector("#status[data-state=lost]", timeout=15000)
        browser.close()
    port = int(rows[0][1].rpartition(":")[2])
    origin = urlsplit(url).netloc
    assert hosts, "the browser was not heard"
    return Seen(
        goodput,
        cwnd,
        misdrawn,
        port,
        changed,
        changes,
        loss,
        rows,
        before_the_end,
        hosts - {origin},
        ended,
        capture,
    )


# How many points of the goodput have no pixel of the line's colour within two pixels.
MISDRAWN = """() => {
  const chart = charts.goodput, { width, height } = chart.canvas;
  const paint = document.createElement("canvas").getContext("2d");
  paint.fillStyle = chart.colour("--blue");
  paint.fillRect(0, 0, 1, 1);
  const colour = paint.getImageData(0, 0, 1, 1).data, { data } = chart.context.getImageData(0, 0, width, height);
  const inked = (x, y) => [0, 1, 2, 3].every((i) => Math.abs(data[4 * (y * width + x) + i] - colour[i]) < 60);
  const near = [-2, -1, 0, 1, 2];
  return chart.points[0].filter(({ t1, value }) => {
    const x = Math.round(chart.x(t1) * devicePixelRatio), y = Math.round(chart.y(value) * devicePixelRatio);
    return !near.some((dx) => near.some((dy) => inked(x + dx, y + dy)));
  }).length;
}"""


@pytest.fixture(scope="module")
def transfer(seen: Seen) -> packets.Transfer:
    return packets.read(seen.capture, seen.port)


def test_the_goodput_drawn_is_that_of_the_packets(seen: Seen, transfer: packets.Transfer):
    assert len(seen.goodput) >= 35
    shown = [point.value for point in seen.goodput]
    captured = [transfer.goodput(point.t0, point.t1) * 8e-6 for point in seen.goodput]
    assert shown == pytest.approx(captured, abs=0.001)
    assert max(shown) > 5
    assert seen.misdrawn == 0


def test_the_window_drawn_is_the_highest_flight(seen: Seen, transfer: packets.Transfer):
    """The transfer is limited by its window: the flight comes within a segment of it in every interval. The window
    is read at the interval's end and may have grown by a little more since."""
    compared = list(undisturbed(seen, transfer))
    assert len(compared) >= 10
    for point in compared:
        behind = point.value * 1024 - transfer.highest_flight(point.t0, point.t1)
        assert 0 <= behind <= 2 * SEGMENT, point
    assert max(point.value for point in compared) > 40


def undisturbed(seen: Seen, transfer: packets.Transfer) -> Iterator[Point]:
    """The samples in which the flight tells the window, slow start apart."""
    for point in seen.cwnd[4:]:
        if transfer.undisturbed(point.t0, point.t1):
            yield point


def test_the_controls_say_what_is_set_at_once(seen: Seen):
    assert seen.loss == "0.02 %"


def test_the_loss_control_changes_the_link(seen: Seen, transfer: packets.Transfer):
    assert seen.changes == ["loss 2 %"]
    before = [p.value for p in seen.goodput if p.t1 < seen.changed and p.t0 > seen.goodput[0].t1 + 1]
    after = [p.value for p in seen.goodput if p.t0 > seen.changed + 1]
    assert statistics.mean(after) < 0.6 * statistics.mean(before)
    # about 2 % of what was sent in those seconds was lost, and so was sent again; a few in 10,000 before
    sent = packets.count([t for t, _ in transfer.flight], seen.changed, seen.changed + 4)
    again = packets.count(transfer.sent_again, seen.changed, seen.changed + 4)
    assert again > 0.005 * sent


def test_the_connections_are_listed(seen: Seen):
    faulty, *clean = seen.rows
    assert faulty[0] == "faulty"
    assert faulty[3] == "ESTABLISHED"
    assert clean and all(row[0] == "clean" for row in clean)


def test_nothing_from_elsewhere_and_no_error(seen: Seen):
    assert seen.complaints == []
    assert seen.hosts == set()


def test_ctrl_c_ends_it(seen: Seen):
    assert seen.ended == (0, "", "")
