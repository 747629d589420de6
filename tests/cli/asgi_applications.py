"""What the tests have `asyncstack serve` run: ASGI applications of every shape."""

import asyncio
import functools
import os
from contextlib import asynccontextmanager
from pathlib import Path


async def function(scope, receive, send):
    if scope["type"] == "lifespan":
        raise NotImplementedError("no lifespan")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


async def late(scope, receive, send):
    """Its lifespan takes a second to begin."""
    if scope["type"] != "lifespan":
        return await function(scope, receive, send)
    await receive()
    await asyncio.sleep(1)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    return await send({"type": "lifespan.shutdown.complete"})


class Instance:
    async def __call__(self, scope, receive, send):
        await function(scope, receive, send)


class Awaited:
    def __init__(self, scope, receive, send):
        self.arguments = scope, receive, send

    def __await__(self):
        return function(*self.arguments).__await__()


class Asgi2:
    def __init__(self, scope):
        self.scope = scope

    async def __call__(self, receive, send):
        await function(self.scope, receive, send)


async def failing(scope, receive, send):
    """Its lifespan does not begin."""
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database today"})


instance = Instance()
partial = functools.partial(function)


def django_application():
    """One view."""
    import django
    from django.conf import settings
    from django.core.handlers.asgi import ASGIHandler
    from django.http import HttpResponse
    from django.urls import re_path

    def view(request):
        return HttpResponse(request.path)

    settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=(re_path("", view),))
    django.setup()
    return ASGIHandler()


def starlette_application():
    """The same with Starlette."""
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def view(request):
        return PlainTextResponse(request.url.path)

    return Starlette(routes=[Route("/{rest:path}", view)])


def wsgi(environ, start_response):
    """Not for us."""


def fastapi_application():
    """With a lifespan that leaves marks in the current folder, HTTP and a WebSocket."""
    import fastapi

    @asynccontextmanager
    async def lifespan(app):
        Path("begun").touch()
        yield
        Path("over").touch()

    app = fastapi.FastAPI(lifespan=lifespan)

    @app.get("/who/{name}")
    async def who(name: str, request: fastapi.Request):
        url = request.url
        return {"name": name, "client": request.client.host, "scheme": url.scheme, "pid": os.getpid()}

    @app.post("/length")
    async def length(request: fastapi.Request):
        return {"length": len(await request.body())}

    @app.get("/large")
    async def large():
        return fastapi.Response(b"x" * 3_000_000)

    @app.websocket("/shout")
    async def shout(websocket: fastapi.WebSocket):
        await websocket.accept()
        while True:
            await websocket.send_text((await websocket.receive_text()).upper())

    return app


MAKERS = {"fast": fastapi_application, "django": django_application, "starlette": starlette_application}


def __getattr__(name):
    if name in MAKERS:  # only who asks for it needs the package
        return MAKERS[name]()
    raise AttributeError(name)
