"""The subjects: a server in its namespace, and where a kernel client reaches it."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from pathlib import Path

from . import pytcp_environment
from .namespaces import Namespace, connect
from .workers import NotOfferedError, StepError, Worker, pinned, python

SERVER_START = 15.0


class Subject(ABC):
    """Interface N of the server is 10.9.N.2, the client's 10.9.N.1. `addresses` are the server's, by interface."""

    name: str
    addresses = ("10.9.0.2", "10.9.1.2")
    interfaces = 2
    most_held = 100_000  # connections that it is asked to hold

    def __init__(self) -> None:
        self.namespaces: list[Namespace] = []

    @property
    def client_namespace(self) -> Namespace:
        return self.namespaces[-1]

    @property
    def server_namespace(self) -> Namespace:
        return self.namespaces[0]

    @abstractmethod
    def open(self) -> None:
        """Make the namespaces. Raises NotOfferedError with the reason when the subject can not run here."""

    def close(self) -> None:
        """Remove them."""
        while self.namespaces:
            self.namespaces.pop().close()

    def server(self, cpu: int = 0, *, interfaces: int = 1, offload: bool = True) -> Worker:
        """A fresh server process, ready for commands."""
        command = [
            *self.server_namespace.prefix, *pinned(cpu),
            *self.server_command(interfaces=interfaces, offload=offload),
        ]  # fmt: skip
        worker = Worker(command, f"{self.name} server")
        try:
            worker.ask("stats", timeout=SERVER_START)
        except BaseException:
            worker.end()
            raise
        return worker

    @abstractmethod
    def server_command(self, *, interfaces: int, offload: bool) -> list[str]:
        """The command of the server process."""

    def client(self, cpu: int | None = 1) -> Worker:
        """A fresh client process."""
        command = [*self.client_namespace.prefix, *pinned(cpu), *python("client")]
        return Worker(command, "client")

    def counted_interface(self) -> str:
        """The client's interface towards the server, to count packets on."""
        raise NotOfferedError("the kernel's packet work is not in the process's CPU time")


class Kernel(Subject):
    """uvloop on kernel sockets; two namespaces joined by veth pairs."""

    name = "kernel"

    def open(self) -> None:
        self.namespaces = []
        self.namespaces.append(Namespace("kernel server"))
        self.namespaces.append(Namespace("kernel client"))
        for index in range(self.interfaces):
            connect(*self.namespaces, index)

    def server_command(self, *, interfaces: int, offload: bool) -> list[str]:
        return python("server", "kernel")


class Asyncstack(Subject):
    """The stack on TUN devices, which it makes and removes itself; uvloop."""

    name = "asyncstack"
    ipv6 = False

    def open(self) -> None:
        if not (Path(__file__).resolve().parents[2] / "asyncstack/stack.py").exists():
            raise NotOfferedError("asyncstack.stack does not exist yet")
        self.namespaces = [Namespace(self.name, ipv6=self.ipv6)]

    def server_command(self, *, interfaces: int, offload: bool) -> list[str]:
        return python("server", self.name, json.dumps({"interfaces": interfaces, "offload": offload}))

    def counted_interface(self) -> str:
        return "as0"


class AsyncstackIpv6(Asyncstack):
    """The same with the other family: interface N is fd09:N::2, the client's fd09:N::1."""

    name = "asyncstack-ipv6"
    addresses = ("fd09:0::2", "fd09:1::2")
    ipv6 = True


class PmdPytcp(Subject):
    """pmd-pytcp from PyPI, in a virtual environment of its own, on a TUN; one interface."""

    name = "pmd-pytcp"
    most_held = 1000  # 10,000 take it most of a minute to open

    def open(self) -> None:
        self.python = pytcp_environment.make()
        self.namespaces = [Namespace("pmd-pytcp")]
        self.client_namespace.configure(
            "tuntap add pt0 mode tun", "addr add 10.9.0.1/24 dev pt0", "link set pt0 up"
        )

    def server_command(self, *, interfaces: int, offload: bool) -> list[str]:
        if interfaces > 1:
            raise NotOfferedError("driven with one interface")
        return [str(self.python), str(Path(__file__).with_name("pytcp_server.py"))]

    def counted_interface(self) -> str:
        return "pt0"


SUBJECTS: dict[str, type[Subject]] = {
    kind.name: kind for kind in (Kernel, Asyncstack, AsyncstackIpv6, PmdPytcp)
}
__all__ = ["SUBJECTS", "NotOfferedError", "StepError", "Subject"]
