"""The site as an HTTP application: the files of `static`, and the WebSocket."""

from pathlib import Path

from asyncstack.application.http import Application, StaticFiles
from demos.site.live import Live

STATIC = Path(__file__).with_name("static")


def pages(live: Live) -> Application:
    """The routes."""
    app = Application()
    app.websocket("/live")(live.converse)
    app.mount("/", StaticFiles(STATIC, cache_control="no-cache"))
    return app
