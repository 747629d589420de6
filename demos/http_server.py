"""An HTTP server on a stack: routes with parameters, and a client on another host that asks.

python demos/http_server.py
"""

import asyncio

import asyncstack
from asyncstack.application.http import Application, HttpClient, Request, Response

app = Application()


@app.get("/hello/{name}")
async def hello(request: Request) -> Response:
    return Response.json({"hello": request.params["name"], "from": request.peer[0]})


@app.post("/length")
async def length(request: Request) -> Response:
    size = 0
    async for piece in request.stream():
        size += len(piece)
    return Response(f"{size} bytes\n")


async def main() -> None:
    async with asyncstack.Network(seed=1) as net:
        client = net.host("client", "10.0.0.1/24", "fd00::1/64")
        server = net.host("server", "10.0.0.2/24", "fd00::2/64")
        net.link(client, server, delay=0.010, rate=50e6)
        await server.start_server(app.handle, None, 80)
        async with HttpClient(client.open_connection) as http:
            for path in ("/hello/world", "/hello", "/nothing"):
                response = await http.get(f"http://server{path}")
                print(path, response.status, (await response.text()).strip())
            response = await http.post("http://server/length", body=bytes(1_000_000))
            print("/length", response.status, (await response.text()).strip())


if __name__ == "__main__":
    asyncio.run(main())
