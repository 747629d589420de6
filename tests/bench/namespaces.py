"""Network namespaces that last as long as the process that holds them.

They have no name in the file system: when the holder ends, for whatever reason, the kernel removes the namespace
with all its interfaces, so nothing can be left behind on the machine.
"""

from __future__ import annotations

import shutil
import subprocess

from .workers import StepError, Worker, python

CLIENT_SETTINGS = {
    "net/ipv4/ip_local_port_range": "1024 65535",
    "net/ipv4/tcp_tw_reuse": "1",
    "net/core/somaxconn": "16384",
    "net/ipv4/tcp_max_syn_backlog": "16384",
    "net/ipv6/conf/all/disable_ipv6": "1",
}
WITH_IPV6 = CLIENT_SETTINGS | {"net/ipv6/conf/all/disable_ipv6": "0"}


def missing_programs() -> list[str]:
    """The programs that the benchmark calls and that are not installed."""
    return [name for name in ("ip", "nsenter", "unshare", "taskset") if shutil.which(name) is None]


class Namespace:
    """One network namespace, loopback up. Close it, or use it as a context manager."""

    def __init__(self, name: str, *, ipv6: bool = False) -> None:
        self._holder = Worker(["unshare", "--net", *python("holder")], f"namespace {name}")
        try:
            self._holder.ask("settings", values=WITH_IPV6 if ipv6 else CLIENT_SETTINGS)
            self.configure("link set lo up")
        except BaseException:
            self._holder.end()
            raise

    @property
    def pid(self) -> int:
        """A process inside."""
        return self._holder.pid

    @property
    def prefix(self) -> list[str]:
        """Put before a command, it runs inside."""
        return ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net"]

    def configure(self, *commands: str) -> None:
        """Run `ip` commands inside."""
        for command in commands:
            done = subprocess.run(
                [*self.prefix, "ip", *command.split()], capture_output=True, text=True, timeout=10
            )
            if done.returncode:
                raise StepError(f"ip {command}: {done.stderr.strip()}")

    def packets(self, interface: str) -> tuple[int, int]:
        """Packets that `interface` of the kernel has received and sent so far."""
        with open(f"/proc/{self._holder.pid}/net/dev") as table:
            for line in table:
                name, _, numbers = line.partition(":")
                if name.strip() == interface:
                    fields = numbers.split()
                    return int(fields[1]), int(fields[9])
        raise StepError(f"no interface {interface} to count packets on")

    def close(self) -> None:
        self._holder.end()

    def __enter__(self) -> Namespace:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def connect(a: Namespace, b: Namespace, index: int = 0) -> None:
    """A veth pair between two namespaces, offloads as the kernel sets them (on): a 10.9.N.2, b 10.9.N.1."""
    name = f"veth{index}"
    a.configure(f"link add {name} type veth peer name {name} netns {b.pid}")
    for namespace, host in ((a, 2), (b, 1)):
        namespace.configure(f"addr add 10.9.{index}.{host}/24 dev {name}", f"link set {name} up")
