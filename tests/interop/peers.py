"""Programs that talk to a stack with the kernel's own sockets: `python peers.py NAME '{"argument": value}'`.

Each prints its results as lines of JSON. Those that have to wait for the test read a line of stdin. The standard
library alone: a program starts in some 20 ms. `kernel.py` runs them.
"""

import errno
import hashlib
import json
import random
import selectors
import socket
import struct
import sys
import threading
import time

TIMEOUT = 40.0  # without progress
BLOCK = 1 << 20
PRIME = 4099


def say(**what) -> None:
    print(json.dumps(what), flush=True)


def wait_for_test() -> None:
    sys.stdin.readline()


def pieces(size: int, seed: int):
    """`size` bytes that repeat nowhere, in blocks: the same for the same seed."""
    block = memoryview(random.Random(seed).randbytes(BLOCK + PRIME))
    for number, start in enumerate(range(0, size, BLOCK)):
        offset = number % PRIME
        yield block[offset : offset + min(BLOCK, size - start)]


def digest(size: int, seed: int) -> str:
    """The SHA-256 of these bytes."""
    state = hashlib.sha256()
    for piece in pieces(size, seed):
        state.update(piece)
    return state.hexdigest()


def family_of(host: str) -> int:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def connect(host: str, port: int, receive_buffer: int = 0) -> socket.socket:
    connection = socket.socket(family_of(host), socket.SOCK_STREAM)
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(TIMEOUT)
    connection.connect((host, port))
    return connection


def accept_one(host: str) -> socket.socket:
    """Say on which port we listen, and take one connection."""
    with socket.create_server((host, 0), family=family_of(host)) as listener:
        say(port=listener.getsockname()[1])
        listener.settimeout(TIMEOUT)
        connection = listener.accept()[0]
    connection.settimeout(TIMEOUT)
    return connection


def send(connection: socket.socket, size: int, seed: int) -> None:
    for piece in pieces(size, seed):
        connection.sendall(piece)
    connection.shutdown(socket.SHUT_WR)


def receive(connection: socket.socket, piece: int = 1 << 20, pause: float = 0.0) -> dict:
    """Everything up to the end: how much, and its digest."""
    state, size = hashlib.sha256(), 0
    buffer = bytearray(piece)
    while count := connection.recv_into(buffer):
        state.update(memoryview(buffer)[:count])
        size += count
        if pause:
            time.sleep(pause)
    return {"size": size, "digest": state.hexdigest()}


def exchange(connection: socket.socket, size: int, seed: int) -> None:
    """Send and receive at the same time; say what came."""
    with connection:
        sender = threading.Thread(target=send, args=(connection, size, seed))
        sender.start()
        came = receive(connection)
        sender.join()
        say(**came)


def client(host: str, port: int, size: int = 0, seed: int = 0) -> None:
    exchange(connect(host, port), size, seed)


def server(host: str, size: int = 0, seed: int = 0) -> None:
    exchange(accept_one(host), size, seed)


def idle_server(host: str, size: int = 0) -> None:
    """Has one connection and does nothing with it."""
    with accept_one(host):
        wait_for_test()


def slow_reader(host: str, port: int, receive_buffer: int, piece: int, pause: float) -> None:
    """Does not read before the test says so, and then slowly."""
    with connect(host, port, receive_buffer) as connection:
        connection.shutdown(socket.SHUT_WR)
        say(connected=True)
        wait_for_test()
        say(**receive(connection, piece, pause))


def eager_writer(host: str, port: int, seed: int) -> None:
    """Writes until the window has been closed for half a second and says how much; at a word of the test, the rest."""
    with connect(host, port) as connection:
        block = next(pieces(BLOCK, seed))
        connection.settimeout(0.5)
        sent = 0
        try:
            while True:
                sent += connection.send(block[sent % BLOCK :])
        except TimeoutError:
            say(sent=sent)
        wait_for_test()
        connection.settimeout(TIMEOUT)
        rest = block[sent % BLOCK :]
        connection.sendall(rest)
        connection.shutdown(socket.SHUT_WR)
        receive(connection)
        say(sent=sent + len(rest))


def holder(host: str, port: int, linger: bool = False, receive_buffer: int = 0) -> None:
    """Holds a connection and never reads; at a line from the test closes it (`linger`: with RST)."""
    with connect(host, port, receive_buffer) as connection:
        connection.sendall(b"hold")
        say(connected=True)
        wait_for_test()
        if linger:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def reset_watcher(host: str, port: int, receive_buffer: int) -> None:
    """Reads only when the test says so, and then says whether the stream ended with RST."""
    with connect(host, port, receive_buffer) as connection:
        say(connected=True)
        wait_for_test()
        try:
            receive(connection)
        except ConnectionResetError:
            say(reset=True)
        else:
            say(reset=False)


def half_closer(host: str, port: int) -> None:
    """Sends its FIN first, reads on to the end."""
    with connect(host, port) as connection:
        connection.sendall(b"question")
        connection.shutdown(socket.SHUT_WR)
        say(**receive(connection))


def half_open_server(host: str, size: int, seed: int) -> None:
    """Reads up to the client's FIN, and only then answers."""
    with accept_one(host) as connection:
        came = receive(connection)
        send(connection, size, seed)
        say(**came)


def refused(host: str, port: int) -> None:
    try:
        connect(host, port).close()
    except OSError as exc:
        say(errno=exc.errno)
    else:
        say(errno=0)


def many(host: str, port: int, count: int, rounds: int, watch_end: bool = False) -> None:
    """`count` connections, open all at once, each of which has its own message echoed `rounds` times; then they are
    closed, or with `watch_end` it is the server that ends them."""
    selector = selectors.DefaultSelector()
    sockets = []
    for number in range(count):
        connection = socket.socket(family_of(host), socket.SOCK_STREAM)
        connection.setblocking(False)
        connection.connect_ex((host, port))
        selector.register(connection, selectors.EVENT_WRITE, [number, 0, b""])
        sockets.append(connection)
    done = 0
    while done < count:
        events = selector.select(TIMEOUT)
        if not events:
            raise TimeoutError(f"no progress after {done} of {count} connections")
        for key, mask in events:
            state = key.data
            number, turn, came = state
            message = b"%d:%d;" % (number, turn) * 20
            if mask & selectors.EVENT_WRITE:
                key.fileobj.send(message)
                selector.modify(key.fileobj, selectors.EVENT_READ, state)
                continue
            data = key.fileobj.recv(65536)
            state[2] = came = came + data
            if not data or not message.startswith(came):
                raise ValueError(f"connection {number}: {came!r} for {message!r}")
            if came == message:
                state[1:] = turn + 1, b""
                if turn + 1 < rounds:
                    selector.modify(key.fileobj, selectors.EVENT_WRITE, state)
                else:
                    selector.unregister(key.fileobj)
                    done += 1
    say(done=done)
    wait_for_test()
    ends = {"eof": 0, "reset": 0}
    for connection in sockets:
        if watch_end:
            ends[how_it_ends(connection)] += 1
        connection.close()
    say(closed=len(sockets), **ends)


def how_it_ends(connection: socket.socket) -> str:
    connection.settimeout(TIMEOUT)
    try:
        return "more data" if connection.recv(1) else "eof"
    except ConnectionResetError:
        return "reset"


def many_short(host: str, port: int, count: int) -> None:
    """`count` connections at once, a thread each: a line there, the same line backwards back."""
    done = []

    def talk(number: int) -> None:
        message = b"%d " % number * 100
        with connect(host, port) as connection:
            connection.sendall(message)
            connection.shutdown(socket.SHUT_WR)
            came = b"".join(iter(lambda: connection.recv(4096), b""))
        if came == message[::-1]:
            done.append(number)

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    say(done=len(done))


def echo_server(host: str) -> None:
    """asyncio's own, for as many clients as come."""
    import asyncio

    async def echo(reader, writer) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(echo, host, 0, backlog=4096)
        say(port=server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


def same_port(host: str, port: int, count: int) -> None:
    """One connection after the other from one local port; the server closes first."""
    for _ in range(count):
        with socket.socket(family_of(host), socket.SOCK_STREAM) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            connection.settimeout(TIMEOUT)
            connection.bind(("", 5555))
            while (error := connection.connect_ex((host, port))) == errno.EADDRNOTAVAIL:
                time.sleep(0.001)  # the last one waits for the ACK of its FIN
            if error:
                raise OSError(error, "connect")
            if b"".join(iter(lambda: connection.recv(100), b"")) != b"bye":
                raise ValueError("something else came")
    say(done=count)


def keeps_alive(host: str, port: int, seconds: float) -> None:
    """An idle connection that the kernel ends if a probe is not answered."""
    with connect(host, port) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT):
            connection.setsockopt(socket.IPPROTO_TCP, option, 1)
        connection.settimeout(seconds)
        try:
            connection.recv(1)
        except TimeoutError as exc:
            say(alive=exc.errno is None)  # not the kernel's ETIMEDOUT


def urgent(host: str, port: int) -> None:
    with connect(host, port) as connection:
        connection.sendall(b"before")
        connection.send(b"!", socket.MSG_OOB)
        connection.sendall(b"after")
        connection.shutdown(socket.SHUT_WR)
        receive(connection)


def udp_echo_client(host: str, port: int, sizes: list[int]) -> None:
    """Send a datagram of each size and compare what comes back."""
    with socket.socket(family_of(host), socket.SOCK_DGRAM) as endpoint:
        endpoint.settimeout(10.0)
        endpoint.connect((host, port))
        for size in sizes:
            data = random.Random(size).randbytes(size)
            endpoint.send(data)
            if endpoint.recv(65536) != data:
                raise ValueError(f"a datagram of {size} bytes came back changed")
    say(echoed=len(sizes))


def udp_echo_server(host: str) -> None:
    with socket.socket(family_of(host), socket.SOCK_DGRAM) as endpoint:
        endpoint.bind((host, 0))
        say(port=endpoint.getsockname()[1])
        while True:
            data, address = endpoint.recvfrom(65536)
            endpoint.sendto(data, address)


def udp_refused(host: str, port: int) -> None:
    """A datagram to a closed port: the ICMP error shows at the next call."""
    with socket.socket(family_of(host), socket.SOCK_DGRAM) as endpoint:
        endpoint.settimeout(10.0)
        endpoint.connect((host, port))
        endpoint.send(b"anybody?")
        try:
            endpoint.recv(100)
        except OSError as exc:
            say(errno=exc.errno)


def udp_flood(host: str, port: int, seconds: float) -> None:
    """64-byte datagrams as fast as the kernel sends."""
    data = bytes(64)
    sent = refused = 0
    with socket.socket(family_of(host), socket.SOCK_DGRAM) as endpoint:
        endpoint.connect((host, port))
        end = time.monotonic() + seconds
        say(started=True)
        while time.monotonic() < end:
            for _ in range(100):
                try:
                    endpoint.send(data)
                    sent += 1
                except ConnectionRefusedError:
                    refused += 1
    say(sent=sent, refused=refused)


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def syn_flood(network: str, host: str, port: int, count: int, seed: int) -> None:
    """SYNs from random addresses of `network` (its first two bytes, as text), by a raw socket."""
    rng = random.Random(seed)
    prefix, target = bytes(map(int, network.split("."))), socket.inet_aton(host)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        say(started=True)
        for _ in range(count):
            source = prefix + rng.randbytes(2)
            syn = struct.pack(
                "!HHIIBBHHH", rng.randrange(1024, 65536), port, rng.getrandbits(32), 0, 0x50, 2, 1024, 0, 0
            )
            total = checksum(source + target + struct.pack("!HH", 6, len(syn)) + syn)
            syn = syn[:16] + struct.pack("!H", total) + syn[18:]
            head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(syn), 0, 0, 64, 6, 0, source, target)
            raw.sendto(head + syn, (host, 0))
    say(sent=count)


def info(connection: socket.socket) -> dict:
    """Of struct tcp_info: tcpi_options, tcpi_delivered_ce."""
    data = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 200)
    return {"options": data[5], "delivered_ce": struct.unpack_from("=I", data, 196)[0]}


def exchange_and_tell(connection: socket.socket, size: int, seed: int) -> None:
    """Send and receive at the same time; say what came, and what the kernel knows of the connection."""
    with connection:
        sender = threading.Thread(target=send, args=(connection, size, seed))
        sender.start()
        came = receive(connection)
        sender.join()
        say(**came, **info(connection))


def telling_client(host: str, port: int, size: int, seed: int) -> None:
    exchange_and_tell(connect(host, port), size, seed)


def telling_server(host: str, size: int, seed: int) -> None:
    exchange_and_tell(accept_one(host), size, seed)


def fast_client(host: str, port: int, requests: list[str]) -> None:
    """Each request on the SYN of a connection of its own; say the answers."""
    for request in requests:
        with socket.socket(family_of(host), socket.SOCK_STREAM) as connection:
            # blocking: a socket with a timeout gives EINPROGRESS where there is no cookie yet
            connection.sendto(request.encode(), socket.MSG_FASTOPEN, (host, port))
            connection.settimeout(TIMEOUT)
            answer = connection.recv(1000).decode()
            say(answer=answer, **info(connection))


def fast_server(host: str, count: int) -> None:
    """Say each request and send it back."""
    with socket.create_server((host, 0), family=family_of(host)) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 10)
        listener.settimeout(TIMEOUT)
        say(port=listener.getsockname()[1])
        for _ in range(count):
            connection = listener.accept()[0]
            with connection:
                connection.settimeout(TIMEOUT)
                request = connection.recv(1000)
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
                told = info(connection)
                connection.recv(1000)
                say(request=request.decode(), **told)


def http_server(host: str, folder: str) -> None:
    """The standard library's, with keep-alive."""
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    class Handler(SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args) -> None:
            pass

    class Server(ThreadingHTTPServer):
        address_family = family_of(host)

    with Server((host, 0), partial(Handler, directory=folder)) as server:
        say(port=server.server_address[1])
        server.serve_forever()


def websocket_client(uri: str) -> None:
    """The `websockets` package: text, binary, a large message, fragments, ping, and an orderly end."""
    from websockets.sync.client import connect as websocket

    large = random.Random(7).randbytes(2_000_000)
    with websocket(uri, max_size=None, proxy=None) as ws:
        for message in ("grüße", "", b"", b"\0\xff", large):
            ws.send(message)
            assert ws.recv(TIMEOUT) == message
        ws.send(["in ", "three ", "pieces"])
        assert ws.recv(TIMEOUT) == "in three pieces"
        assert ws.ping().wait(TIMEOUT)
        for number in range(200):
            ws.send(str(number))
        assert [ws.recv(TIMEOUT) for _ in range(200)] == list(map(str, range(200)))
        ws.close(4001, "done")
        say(code=ws.close_code, deflate=[type(each).__name__ for each in ws.protocol.extensions])


def websocket_server(host: str) -> None:
    from websockets.sync.server import serve

    def echo(ws) -> None:
        for message in ws:
            ws.send(message)

    with serve(echo, sock=socket.create_server((host, 0), family=family_of(host)), max_size=None) as server:
        say(port=server.socket.getsockname()[1])
        server.serve_forever()


if __name__ == "__main__":
    globals()[sys.argv[1]](**json.loads(sys.argv[2]))
