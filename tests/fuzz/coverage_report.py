"""Line coverage of everything that reads bytes from outside, by the tests that send hostile ones.

    python -m tests.fuzz.coverage_report                   by tests/fuzz alone
    python -m tests.fuzz.coverage_report tests/wire ...    by other tests

Prints a table: module, lines that can run, lines that did not, per cent, and which did not. FUZZ_MUTATIONS and the
other variables of `storm` apply; counting lines makes a storm some times slower, so there are fewer by default.
"""

from __future__ import annotations

import os
import sys

import coverage
import pytest

PACKAGE = "asyncstack"
PARSERS = (
    "wire/arp", "wire/checksum", "wire/ethernet", "wire/icmp", "wire/icmpv6", "wire/ipv4", "wire/ipv6", "wire/ndp",
    "wire/packet", "wire/tcp", "wire/udp", "wire/virtio_net",
    "link/arp", "link/ethernet", "link/ip", "link/neighbors", "link/reachability", "link/tuntap",
    "network/fragments", "network/icmp", "network/icmpv6", "network/ipv4", "network/ipv6", "network/layer",
    "network/ndp", "network/pmtu", "network/rate_limit",
    "transport/udp/layer", "transport/tcp/arrival", "transport/tcp/handshake", "transport/tcp/reassembly",
    "transport/tcp/receiver", "transport/tcp/reset", "transport/tcp/time_wait",
)  # fmt: skip


def report(measured: coverage.Coverage) -> None:
    """The table."""
    print(f"\n{'module':32}{'lines':>7}{'missed':>8}{'':>3}covered   missing")
    lines = missed = 0
    for name in PARSERS:
        _, statements, _, missing, where = measured.analysis2(f"{PACKAGE}/{name}.py")
        lines += len(statements)
        missed += len(missing)
        print(f"{name:32}{len(statements):7}{len(missing):8}{percent(statements, missing):9.1f}%   {where}")
    print(f"{'all':32}{lines:7}{missed:8}{100 * (1 - missed / lines):9.1f}%")


def percent(statements: list[int], missing: list[int]) -> float:
    return 100 * (1 - len(missing) / len(statements)) if statements else 100.0


def main(arguments: list[str]) -> int:
    """Run the tests under measurement. Returns pytest's exit status."""
    os.environ.setdefault("FUZZ_MUTATIONS", "20000")
    measured = coverage.Coverage(source=[PACKAGE], data_file=None)
    measured.start()
    status = pytest.main(["-q", "-p", "no:cacheprovider", "--timeout=600", *(arguments or ["tests/fuzz"])])
    measured.stop()
    report(measured)
    return int(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
