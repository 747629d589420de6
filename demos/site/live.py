"""The WebSocket between the stack and each open page.

A page is sent {"samples": [...], "connections": [...], "running": true}: the last minute, then what is new (see
`telemetry`). It sends what `controls` obeys.
"""

import asyncio
import json

from asyncstack.application.websocket import ConnectionClosed, WebSocket
from demos.site import controls
from demos.site.telemetry import SECONDS, Telemetry
from demos.site.transfer import Transfer


class Live:
    """Samples for ever, and tells all pages."""

    def __init__(self, telemetry: Telemetry, transfer: Transfer) -> None:
        self.telemetry = telemetry
        self.transfer = transfer
        self.news = asyncio.Condition()

    async def sample(self) -> None:
        """Take samples for ever."""
        while True:
            await asyncio.sleep(SECONDS)
            self.telemetry.take()
            async with self.news:
                self.news.notify_all()

    async def converse(self, page: WebSocket) -> None:
        """One open page: a task sends while this one receives."""
        sending = asyncio.create_task(self.send_news(page))
        try:
            async for message in page:
                controls.obey(message, self.telemetry.world, self.transfer)
        except ValueError as error:
            await page.close(1008, str(error)[:100])
        finally:
            sending.cancel()

    async def send_news(self, page: WebSocket) -> None:
        """What this page has not seen yet; one that is slow to take it gets several samples at once."""
        telemetry, seen = self.telemetry, 0
        try:
            while True:
                samples = list(telemetry.samples)[-(telemetry.count - seen) :] if telemetry.count else []
                news = {"samples": samples, "connections": telemetry.rows, "running": self.transfer.running}
                seen = telemetry.count
                await page.send(json.dumps(news))
                async with self.news:
                    while telemetry.count == seen:
                        await self.news.wait()
        except ConnectionClosed:
            pass
