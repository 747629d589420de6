"""What a page of the demo site may ask for over its WebSocket, and what the site tells it."""

import asyncio
import itertools
import json
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from asyncstack.application import websocket
from asyncstack.application.websocket import ConnectionClosed, WebSocket
from tests.running import Running

IPV6 = ("[::1]:0", "-6")


@pytest.fixture
async def page(request: pytest.FixtureRequest) -> AsyncIterator[WebSocket]:
    """The WebSocket of a page, as the browser opens it."""
    where = getattr(request, "param", ("127.0.0.1:0",))
    with Running(sys.executable, "-m", "demos.site", "--seed", "1", "--publish", *where) as site:
        url = (await asyncio.to_thread(site.url)).replace("http", "ws", 1) + "live"
        async with asyncio.timeout(30), websocket.connect(url) as page:
            yield page
        assert site.end() == (0, "", "")


async def news(page: WebSocket, wanted: Callable[[dict[str, Any]], Any]) -> Any:
    """What `wanted` finds in the first news in which it finds anything."""
    async for message in page:
        if found := wanted(json.loads(message)):
            return found
    raise AssertionError("the site closed the WebSocket")


def ask(page: WebSocket, **message: Any):
    return page.send(json.dumps(message))


def client_of_the_transfer(told: dict[str, Any]) -> str | None:
    """The client's end, once data flows."""
    rows = [row for row in told["connections"] if row["link"] == "faulty" and row["acked"]]
    return rows[-1]["remote"] if rows else None


def no_transfer(told: dict[str, Any]) -> bool:
    return not told["running"] and all(row["link"] == "clean" for row in told["connections"])


@pytest.mark.parametrize("page", [("127.0.0.1:0",), IPV6], ids=["IPv4", "IPv6"], indirect=True)
async def test_stop_start_restart(page):
    first = await news(page, client_of_the_transfer)
    assert first.rpartition(":")[0] in ("192.0.2.1", "[2001:db8:1::1]")
    await ask(page, transfer="stop")
    await news(page, no_transfer)
    await ask(page, transfer="start")
    second = await news(page, client_of_the_transfer)
    assert second != first
    await ask(page, transfer="restart")
    third = await news(page, lambda told: client_of_the_transfer(told) not in (None, second) and told)
    assert [row["state"] for row in third["connections"] if row["link"] == "faulty"] == ["ESTABLISHED"]


async def test_a_slower_link(page):
    await news(page, client_of_the_transfer)
    await ask(page, rate=2e6, delay=0.03)
    slow = await news(page, lambda told: told["samples"] and told["samples"][-1]["rate"] == 2e6 and told)
    assert slow["samples"][-1]["delay"] == 0.03
    # the queue before the link takes a quarter of a second to pass now
    await news(page, lambda told: told["samples"] and told["samples"][-1].get("rtt", 0) > 0.15)


async def test_a_second_page_is_told_the_last_minute_at_once(page):
    told = await news(page, lambda told: told["samples"] and told)
    earlier = told["samples"][0]["t0"]
    await asyncio.sleep(0.8)
    async with websocket.connect(f"ws://127.0.0.1:{page.peer[1]}/live") as second:
        samples = json.loads(await second.recv())["samples"]
    assert samples[0]["t0"] <= earlier
    assert len(samples) >= 3
    assert all(a["t1"] == b["t0"] for a, b in itertools.pairwise(samples))


@pytest.mark.parametrize(
    "message",
    [
        '{"loss": 2}',
        '{"loss": NaN}',
        '{"rate": true}',
        '{"frob": 1}',
        '{"transfer": "burn"}',
        "[]",
        "{",
        b"\xff",
    ],
)
async def test_nonsense_closes_the_websocket(page, message):
    await page.send(message)
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            await page.recv()
    assert closed.value.code == 1008
