"""uvicorn with a FastAPI application, as users have it, on whatever the running loop's `create_server` gives."""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

CHUNK = bytes(256 << 10)


def make_application() -> Any:
    """`/` says hello in JSON, `/bulk` sends for as long as somebody listens."""
    from fastapi import FastAPI
    from fastapi.responses import StreamingResponse

    app = FastAPI(openapi_url=None)

    @app.get("/")
    async def hello() -> dict[str, str]:
        return {"hello": "world"}

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield CHUNK
            await asyncio.sleep(0)  # or nobody ever learns that the client has gone

    @app.get("/bulk")
    async def bulk() -> StreamingResponse:
        return StreamingResponse(endless(), media_type="application/octet-stream")

    return app


async def start(host: str, port: int, *, tls: bool) -> Any:
    """A uvicorn.Server that listens. Its task ends with the process."""
    import uvicorn

    arguments: dict[str, Any] = {}
    if tls:
        certificate, key = self_signed(Path(tempfile.mkdtemp()))
        arguments = {"ssl_certfile": certificate, "ssl_keyfile": key}
    config = uvicorn.Config(
        make_application(), host=host, port=port, lifespan="off", log_level="error", backlog=8192, **arguments
    )
    server = uvicorn.Server(config)
    server.task = asyncio.get_running_loop().create_task(server.serve())  # type: ignore[attr-defined]
    while not server.started:
        await asyncio.sleep(0.01)
        if server.task.done():  # type: ignore[attr-defined]
            raise RuntimeError("uvicorn did not start")
    return server


def self_signed(folder: Path) -> tuple[str, str]:
    """Files of a certificate and its key."""
    certificate, key = str(folder / "certificate.pem"), str(folder / "key.pem")
    command = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=bench"]
    command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key
