"""The ASGI application that uvicorn and hypercorn serve, and requests to it by httpx."""

import httpx
from fastapi import FastAPI, Request, Response, WebSocket

from tests.ecosystem.site import blob

app = FastAPI()


@app.get("/items/{number}")
async def item(number: int, request: Request) -> dict[str, object]:
    return {"number": number, "port": request.client.port, "scheme": request.url.scheme}


@app.post("/reversed")
async def reversed_body(request: Request) -> Response:
    return Response((await request.body())[::-1])


@app.websocket("/echo")
async def echo(socket: WebSocket) -> None:
    await socket.accept(subprotocol="echo")
    async for text in socket.iter_text():
        await socket.send_text(text.upper())


async def get_and_post(client: httpx.AsyncClient, scheme: str) -> None:
    first = await client.get("/items/7")
    assert (first.status_code, first.json()["number"], first.json()["scheme"]) == (200, 7, scheme)
    assert (await client.get("/items/seven")).status_code == 422
    body = blob()
    assert (await client.post("/reversed", content=body)).content == body[::-1]
    assert (await client.get("/items/8")).json()["port"] == first.json()["port"]  # kept alive
