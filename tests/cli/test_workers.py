"""`asyncstack serve --workers`: several processes behind one address, with the kernel's clients."""

import os
import re
import shutil
import signal
import socket
import threading
import time
from collections import Counter
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import dpkt
import pytest

from asyncstack.wire import ipv4
from tests.netns import NetworkNamespace
from tests.programs import require_program
from tests.running import Running, cli, run

pytestmark = pytest.mark.tun

COUNT = 3
PORT = 7000
OURS, OURS6 = "10.9.0.2", "fd09::2"
ADDRESSES = ("--address", f"{OURS}/24", "--address", f"{OURS6}/64")
PEERS = ("--peer", "10.9.0.1/24", "--peer", "fd09::1/64")
ETH_P_ALL = 3
FORGOTTEN = 4.5  # seconds of silence after which the kernel finds a flow's queue by its hash


class Service(Running):
    """Workers that serve `target` of workers_application.py, and what they say on stderr."""

    def __init__(self, folder: Path, target: str = "who", kind: str = "tun") -> None:
        shutil.copy(Path(__file__).with_name("workers_application.py"), folder / "apps.py")
        command = ("serve", f"apps:{target}", f"--{kind}", "as0", *ADDRESSES, *PEERS)
        super().__init__(*cli(*command, "--port", str(PORT), "--workers", str(COUNT)), cwd=folder)
        self.said: list[str] = []
        self.heard = threading.Condition()
        self.listener = threading.Thread(target=self._listen)
        self.listener.start()

    def _listen(self) -> None:
        for line in self.process.stderr:
            with self.heard:
                self.said.append(line)
                self.heard.notify_all()

    def __exit__(self, *exc_info: object) -> None:
        self.process.kill()
        self.listener.join()
        self.process.stdout.close()
        self.process.stderr.close()
        self.process.wait()

    def url(self) -> str:
        """Once all are ready."""
        url = super().url()
        self.until(lambda: all(map(self.pids, range(1, COUNT + 1))))
        return url

    def pids(self, number: int) -> list[int]:
        """The processes that were worker `number`."""
        found = (re.search(rf"worker {number} is ready \(process (\d+)\)", line) for line in self.said)
        return [int(one[1]) for one in found if one]

    def workers(self) -> set[int]:
        """The processes that are workers now."""
        return {self.pids(number)[-1] for number in range(1, COUNT + 1)}

    def until(self, condition, seconds: float = 20) -> None:
        with self.heard:
            assert self.heard.wait_for(condition, seconds), "".join(self.said)

    def finish(self, number: int, timeout: float = 10) -> int:
        """Send a signal; the exit status."""
        self.process.send_signal(number)
        return self.process.wait(timeout)


class Client:
    """A connection to a worker: it is told which."""

    def __init__(self, host: str = OURS) -> None:
        self.socket = socket.create_connection((host, PORT), timeout=15)
        self.file = self.socket.makefile("rb")
        self.pid = int(self.file.readline())

    def is_served(self) -> bool:
        self.socket.sendall(b"still there?\n")
        return self.file.readline() == b"still there?\n"

    def is_reset(self) -> bool:
        """Only by reading: it has nothing to say."""
        try:
            self.file.readline()
        except ConnectionResetError:
            return True
        return False

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.file.close()
        self.socket.close()


def clients(stack: ExitStack, count: int = 40) -> list[Client]:
    return [stack.enter_context(Client(OURS6 if number % 2 else OURS)) for number in range(count)]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def answered(*command: str) -> bool:
    return run(require_program(command[0]), *command[1:]).returncode == 0


def answers_pings() -> bool:
    """Small ones and fragmented ones, of both families."""
    quick = ("-c", "3", "-i", "0.01", "-W", "2", "-q")
    return all(
        answered("ping", *quick, "-s", size, host) for size in ("56", "30000") for host in (OURS, OURS6)
    )


@pytest.mark.parametrize("kind", ["tun", "tap"])
def test_they_share_an_address_and_a_port(kind, tmp_path, netns: NetworkNamespace):
    with Service(tmp_path, kind=kind) as service, ExitStack() as stack:
        assert service.url() == f"http://{OURS}:{PORT}/"
        connected = clients(stack, 60)
        shares = Counter(client.pid for client in connected)
        assert set(shares) == service.workers()
        assert len(shares) == COUNT
        assert answers_pings()
        if kind == "tap":
            netns.run("ip", "neighbor", "flush", "dev", "as0")
            assert answered("arping", "-c", "3", "-w", "5", "-I", "as0", OURS)
        assert all(client.is_served() for client in connected)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "kind"), [(1, "tun"), (COUNT, "tun"), (1, "tap")])
def test_a_killed_worker(number, kind, tmp_path):
    """Its connections are reset, those of the others go on though silent, and a new one takes its place; also of the
    first, which answers pings."""
    with Service(tmp_path, kind=kind) as service, ExitStack() as stack:
        service.url()
        connected = clients(stack)
        victim = service.pids(number)[0]
        theirs = [client for client in connected if client.pid == victim]
        others = [client for client in connected if client.pid != victim]
        assert theirs and others
        time.sleep(FORGOTTEN)
        os.kill(victim, signal.SIGKILL)
        theirs[0].socket.sendall(b"into the void\n")
        assert all(client.is_reset() for client in theirs)
        assert all(client.is_served() for client in others)
        service.until(lambda: len(service.pids(number)) == 2)
        assert service.pids(number)[1] in service.workers()
        assert {client.pid for client in clients(stack)} == service.workers()
        assert answers_pings()
        time.sleep(FORGOTTEN)
        assert all(client.is_served() for client in others)


def test_a_connection_opened_meanwhile_waits_for_the_new_worker(tmp_path):
    with Service(tmp_path) as service, ExitStack() as stack:
        service.url()
        before = service.workers()
        os.kill(service.pids(2)[0], signal.SIGKILL)
        pids = {client.pid for client in clients(stack)}
        assert len(pids) == COUNT
        assert len(pids & before) == COUNT - 1


@pytest.mark.slow
def test_connections_that_workers_open(tmp_path):
    """Their answers come to whichever queue, after a silence; each worker has ports of its own."""
    with Service(tmp_path, "outward") as service, ExitStack() as stack:
        service.url()
        listener = stack.enter_context(socket.create_server(("10.9.0.1", 9000)))
        listener.settimeout(10)
        both, ports = [], {}
        for _ in range(24):
            client = stack.enter_context(Client())
            there, (_, port) = listener.accept()
            both.append((client, stack.enter_context(there)))
            ports.setdefault(client.pid, []).append(port)
        assert set(ports) == service.workers()
        spans = sorted((min(own), max(own)) for own in ports.values())
        assert all(before[1] < after[0] for before, after in pairwise(spans))
        time.sleep(FORGOTTEN)
        for number, (client, there) in enumerate(both):
            there.sendall(b"%d after a while\n" % number)
            assert client.file.readline() == b"%d after a while\n" % number


def test_a_fragmented_segment_finds_its_connection(tmp_path, netns: NetworkNamespace):
    """The first worker puts it together, and it may be anybody's."""
    netns.run("sysctl", "-q", "-w", "net.ipv4.tcp_timestamps=0")
    with Service(tmp_path) as service, ExitStack() as stack:
        service.url()
        connected = [stack.enter_context(Client()) for _ in range(20)]
        assert {client.pid for client in connected} == service.workers()
        wire = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM))
        wire.bind(("as0", ETH_P_ALL))
        wire.settimeout(10)
        for client in connected:
            _, port = client.socket.getsockname()
            send_fragmented(client.socket, b"%099d\n" % port)
            answer = b""  # which the client does not take: it is to what its kernel has not sent
            while not (answer[12:16] == socket.inet_aton(OURS) and answer.endswith(b"%099d\n" % port)):
                answer = wire.recv(65536)


def send_fragmented(client: socket.socket, data: bytes) -> None:
    """Send `data`, as the client's kernel would next, in two IP fragments."""
    (host, port), (remote, remote_port) = client.getsockname(), client.getpeername()
    seq, ack = sequence_numbers(client)
    segment = dpkt.tcp.TCP(
        sport=port, dport=remote_port, seq=seq, ack=ack, flags=dpkt.tcp.TH_ACK, win=500, data=data
    )
    addresses = {"src": socket.inet_aton(host), "dst": socket.inet_aton(remote)}
    payload = bytes(dpkt.ip.IP(**addresses, p=socket.IPPROTO_TCP, data=segment))[20:]
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        for offset, piece in ((0, payload[:64]), (64, payload[64:])):
            header = ipv4.build(
                *addresses.values(),
                socket.IPPROTO_TCP,
                len(piece),
                ident=port,
                dont_fragment=False,
                more_fragments=offset == 0,
                fragment_offset=offset,
            )
            raw.sendto(header + piece, (remote, 0))


def sequence_numbers(client: socket.socket) -> tuple[int, int]:
    """The kernel's next ones to send and to receive (TCP_REPAIR of linux/tcp.h)."""
    repair, queue, number = 19, 20, 21
    client.setsockopt(socket.IPPROTO_TCP, repair, 1)
    found = []
    for one in (2, 1):  # the send queue, the receive queue
        client.setsockopt(socket.IPPROTO_TCP, queue, one)
        found.append(client.getsockopt(socket.IPPROTO_TCP, number) & 0xFFFFFFFF)
    client.setsockopt(socket.IPPROTO_TCP, repair, -1)  # off, without a probe
    return found[0], found[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_end_leaves_nothing(number, tmp_path, netns: NetworkNamespace):
    with Service(tmp_path) as service, ExitStack() as stack:
        service.url()
        connected = clients(stack, 10)
        workers = service.workers()
        assert service.finish(number) == 0
        assert not any(map(is_alive, workers))
        assert "as0" not in netns.run("ip", "-o", "link")
        for client in connected:
            assert client.file.read() == b""  # in order


def test_without_the_supervisor_the_workers_end(tmp_path, netns: NetworkNamespace):
    with Service(tmp_path) as service:
        service.url()
        workers = service.workers()
        service.process.kill()
        service.listener.join(10)  # until nobody can write to stderr any more
        assert not service.listener.is_alive()
        deadline = time.monotonic() + 5
        while any(map(is_alive, workers)) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not any(map(is_alive, workers))
        assert "as0" not in netns.run("ip", "-o", "link")


@pytest.mark.slow
def test_workers_that_keep_dying(tmp_path):
    with Service(tmp_path, "mortal") as service:
        assert service.process.wait(40) == 1
        service.listener.join(5)
        assert "in a row lived less than 10 seconds: giving up" in service.said[-1]
        assert not any(is_alive(pid) for number in range(1, COUNT + 1) for pid in service.pids(number))


@pytest.mark.slow
def test_an_interface_that_somebody_deletes(tmp_path, netns: NetworkNamespace):
    with Service(tmp_path) as service:
        service.url()
        netns.run("ip", "link", "delete", "as0")
        assert service.process.wait(40) == 1
        service.listener.join(5)
        assert any("interface as0 is gone" in line for line in service.said)
        assert "giving up" in service.said[-1]


def test_workers_that_can_not_start(tmp_path):
    with Service(tmp_path, "nobody") as service:
        assert service.process.wait(20) == 2
        service.listener.join(5)
        said = "".join(service.said)
        assert "module 'apps' has no attribute 'nobody'" in said
        assert "before it was ready" in said
        assert "Traceback" not in said


def test_an_interface_made_without_queues(tmp_path, netns: NetworkNamespace):
    netns.run("ip", "tuntap", "add", "dev", "as0", "mode", "tun")
    with Service(tmp_path) as service:
        assert service.process.wait(20) == 2
        service.listener.join(5)
        assert "as0 can not have several queues" in service.said[-1]
        assert "ip tuntap add dev as0 mode tun multi_queue" in service.said[-1]


def test_an_interface_made_with_queues_is_left_as_it_was(tmp_path, netns: NetworkNamespace):
    netns.run("ip", "tuntap", "add", "dev", "as0", "mode", "tun", "multi_queue")
    before = netns.run("ip", "-o", "address", "show", "dev", "as0")
    with Service(tmp_path) as service, ExitStack() as stack:
        service.url()
        assert {client.pid for client in clients(stack)} == service.workers()
        assert service.finish(signal.SIGTERM) == 0
    assert netns.run("ip", "-o", "address", "show", "dev", "as0") == before
