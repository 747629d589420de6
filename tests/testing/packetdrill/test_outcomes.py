"""Small scripts whole: what passes, how each kind of failure is told, and what is unsupported."""

import pytest

from asyncstack.testing.packetdrill import Outcome, run_text
from tests.testing.packetdrill.scripts import ACCEPTED, LISTEN


def failure(script):
    result = run_text(script)
    assert result.outcome is Outcome.FAIL, result.text()
    return result


def passes(script, **options):
    result = run_text(script, **options)
    assert result.passed, result.text()
    return result


# pass


def test_numbers_count_from_the_scripts_own_syn():
    passes(
        LISTEN
        + """
   +0 < S 1000:1000(0) win 65535 <mss 1000,TS val 7 ecr 0>
   +0 > S. 5000:5000(0) ack 1001 <mss 1460,nop,nop,TS val 100 ecr 7>
   +0 < . 1:1(0) ack 1 win 65535 <nop,nop,TS val 8 ecr 100>
   +0 accept(3, ..., ...) = 4
   +1 write(4, ..., 10) = 10
   +0 > P. 1:11(10) ack 1 <nop,nop,TS val 1100 ecr 8>
   +0 < . 1:1(0) ack 11 win 65535 <nop,nop,TS val 9 ecr 1100>
"""
    )


def test_segments_of_a_burst_are_glued_to_the_length_of_the_line():
    passes(
        ACCEPTED
        + """
   +0 write(4, ..., 5000) = 5000
   +0 > . 1:2001(2000) ack 1
   +0 > . 2001:3001(1000) ack 1
   +0 > P. 3001:5001(2000) ack 1
   +0 < . 1:1(0) ack 5001 win 65535
"""
    )


def test_blocking_calls_return_when_the_script_says():
    passes(
        LISTEN
        + """
 +0...0.3 accept(3, ..., ...) = 4
 +0.1 < S 0:0(0) win 65535 <mss 1000>
   +0 > S. 0:0(0) ack 1 <mss 1460>
 +0.2 < . 1:1(0) ack 1 win 65535
 +0.1...0.3 read(4, ..., 100) = 50
 0.6 < P. 1:51(50) ack 1 win 65535
   +0 > . 1:1(0) ack 51
"""
    )


def test_a_range_and_a_star_take_what_comes_when_it_comes():
    passes(
        ACCEPTED
        + """
   +0 write(4, ..., 10) = 10
   +0 > P. 1:11(10) ack 1
 +0.1~+0.5 > P. 1:11(10) ack 1
    * > P. 1:11(10) ack 1
"""
    )


def test_both_families_and_the_mapped_one():
    for version, mss in (("ipv4", 1460), ("ipv6", 1440), ("ipv4-mapped-ipv6", 1460)):
        script = f"""--ip_version={version}
    0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
   +0 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0
   +0 fcntl(3, F_GETFL) = 0x802 (flags O_RDWR|O_NONBLOCK)
   +0 connect(3, ..., ...) = -1 EINPROGRESS (Operation now in progress)
   +0 > S 0:0(0) <mss {mss},sackOK,TS val 100 ecr 0,nop,wscale 8>
 +0.1 < S. 0:0(0) ack 1 win 5792 <mss 1000>
   +0 > . 1:1(0) ack 1
   +0 getsockopt(3, SOL_SOCKET, SO_ERROR, [0], [4]) = 0
   +0 poll([{{fd=3, events=POLLOUT|POLLIN, revents=POLLOUT}}], 1, 0) = 1
"""
        passes(script)


def test_an_icmp_error_quotes_what_we_sent():
    passes(
        ACCEPTED
        + """
   +0 write(4, ..., 1000) = 1000
   +0 > P. 1:1001(1000) ack 1
   +0 < icmp unreachable frag_needed mtu 940 [1:1001(1000)]
   +0 > P. 1:1001(1000) ack 1
   +0 %{ assert tcpi_snd_mss == 900, tcpi_snd_mss }%
"""
    )


def test_code_sees_tcp_info_and_its_own_variables():
    result = passes(
        ACCEPTED
        + """
   +0 %{ before = tcpi_snd_cwnd
if tcpi_state == TCP_ESTABLISHED:
    print("established", tcpi_ca_state == TCP_CA_Open) }%
   +0 %{ assert tcpi_snd_cwnd == before == 10 }%
"""
    )
    assert result.output == ["established True"]


def test_edges_of_epoll():
    passes(
        ACCEPTED
        + """
   +0 epoll_create(1) = 5
   +0 epoll_ctl(5, EPOLL_CTL_ADD, 4, {events=EPOLLIN|EPOLLET, fd=4}) = 0
   +0 epoll_wait(5, {events=0, ptr=0}, 1, 0) = 0
   +0 < P. 1:11(10) ack 1 win 65535
   +0 epoll_wait(5, {events=EPOLLIN, fd=4}, 1, 0) = 1
   +0 epoll_wait(5, {events=0, ptr=0}, 1, 0) = 0
   +0 ioctl(4, SIOCINQ, [10]) = 0
   +0 read(4, ..., 100) = 10
   +0 > . 1:1(0) ack 11
   +0 < P. 11:21(10) ack 1 win 65535
   +0 epoll_wait(5, {events=EPOLLIN, fd=4}, 1, 0) = 1
"""
    )


# fail


def test_another_packet_is_told_side_by_side_with_the_clock_and_the_state():
    result = failure(
        ACCEPTED
        + """
   +0 < P. 1:101(100) ack 1 win 65535
   +0 > . 1:1(0) ack 111 <nop,nop,sack 1:2>
"""
    )
    assert (result.line, result.reason) == (12, "another packet: ack, options")
    script, actual, marks, clock, state = result.details
    assert script == "script 0.000000  > . 1:1(0) ack 111 <nop,nop,sack 1:2>"
    assert actual == "actual 0.000000  > . 1:1(0) ack 101"
    assert marks.split() == ["^^^"]
    assert marks.index("^") == actual.index("101")
    assert clock == "clock   0.000000"
    assert state.startswith("state   ESTABLISHED OPEN: cwnd 10 ".replace("OPEN", "open"))
    assert result.text().startswith("<script>:12: fail: another packet: ack, options\n")


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("+0 > P. 1:1(0) ack 101", "flags"),
        ("+0 > . 2:2(0) ack 101", "seq"),
        ("+0 > . 1:2(1) ack 101", "length"),
        ("+0 > . 1:1(0) ack 101 win 7", "win"),
        ("+0 > . 1:1(0) ack 101 win 1~7", "win"),
        ("+0 > . 1:1(0) ack 101 urg 1", "urg"),
        ("+0 > [ce] . 1:1(0) ack 101", "ECN"),
        ("+0 > [ttl 3] . 1:1(0) ack 101", "ttl"),
        ("+0 > [tos 0x10] . 1:1(0) ack 101", "tos"),
        ("+0 > .7 1:1(0) ack 101", "flags"),
        ("+.01 > . 1:1(0) ack 101", "time"),
        ("+.05~+.06 > . 1:1(0) ack 101", "time"),
        ("+0 > udp (1)", "protocol"),
    ],
)
def test_each_field_is_compared(line, fields):
    result = failure(ACCEPTED + f"+0 < P. 1:101(100) ack 1 win 65535\n{line}")
    assert result.reason == f"another packet: {fields}"


@pytest.mark.parametrize(("time", "until"), [("+.02", "0.024"), ("+.1~+.3", "0.304")])
def test_a_packet_that_does_not_come(time, until):
    result = failure(ACCEPTED + f"{time} > . 1:1(0) ack 101")
    assert result.reason == "no packet"
    assert result.details[0].endswith("  > . 1:1(0) ack 101")
    assert result.details[1].split() == ["actual", f"{until}000", ">", "(nothing)"]


def test_the_tolerance_is_an_option():
    script = ACCEPTED + "+0 < P. 1:101(100) ack 1 win 65535\n+.01 > . 1:1(0) ack 101"
    assert failure(script).reason == "another packet: time"
    passes("--tolerance_usecs=10000\n" + script)
    passes(script, tolerance_usecs="10000")


def test_what_was_sent_and_not_asked_for_is_told():
    result = failure(
        ACCEPTED
        + """
   +0 write(4, ..., 2000) = 2000
   +0 > . 1:1001(1000) ack 2
"""
    )
    assert result.details[-2:] == [
        "sent and not asked for:",
        "  0.000000  > P. 1001:2001(1000) ack 1 win 65535",
    ]


@pytest.mark.parametrize(
    ("line", "reason", "actual"),
    [
        ("+0 write(4, ..., 10) = 20", "write() returned 10, not 20", "actual  10"),
        (
            "+0 read(5, ..., 10) = 10",
            "read() failed with EBADF",
            "actual  -1 EBADF ([Errno 9] Bad file descriptor)",
        ),
        ("+0 write(4, ..., 10) = -1 EPIPE (Broken pipe)", "write() returned 10, not -1 EPIPE", "actual  10"),
        ("+0 read(4, ..., 10) = 10", "read() has not returned", None),
        ("+0...1 read(4, ..., 10) = 10", "read() has not returned", None),
        (
            "+0 getsockopt(4, SOL_SOCKET, SO_KEEPALIVE, [1], [4]) = 0",
            "SO_KEEPALIVE is 0, the script says 1",
            None,
        ),
        (
            "+0 poll([{fd=4, events=POLLIN, revents=POLLIN}], 1, 0) = 1",
            "poll: fd 4 shows revents 0x0, the script says 0x1",
            None,
        ),
        ("+0 %{ assert tcpi_snd_cwnd == 3, 'window' }%", "AssertionError: window", None),
        ("+0 shutdown(4, WRONG) = 0", "WRONG is no constant that we know", None),
    ],
)
def test_calls_and_code_that_fail(line, reason, actual):
    result = failure(ACCEPTED + line)
    assert (result.reason, result.line) == (reason, 10)
    assert actual is None or actual in result.details
    assert result.details[-1].startswith("state   ESTABLISHED") or actual is not None


def test_a_blocking_call_that_returns_at_another_time():
    result = failure(
        ACCEPTED
        + """
 +0...0.5 read(4, ..., 100) = 10
 +0.1 < P. 1:11(10) ack 1 win 65535
"""
    )
    assert result.reason == "read() returned at 0.100000, the script says 0.500000"


def test_the_values_that_code_named_are_told():
    assert "tcpi_snd_cwnd = 10" in failure(ACCEPTED + "+0 %{ assert tcpi_snd_cwnd == 3 }%").details


def test_a_timestamp_that_echoes_nothing_is_an_error_of_the_script():
    result = failure(LISTEN + "+0 < S. 0:0(0) ack 1 win 100 <nop,nop,TS val 1 ecr 5>")
    assert result.reason == "TS ecr 5 echoes a timestamp, and we have sent none yet"


# unsupported


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("+0 splice(4, NULL, 5, NULL, 100, 0) = 100", "splice"),
        ("+0 setsockopt(4, SOL_SOCKET, SO_ZEROCOPY, [1], 4) = 0", "zerocopy"),
        ("+0 setsockopt(4, SOL_TCP, TCP_MD5SIG, [1], 4) = 0", "TCP-MD5"),
        ("+0 setsockopt(4, SOL_SOCKET, SO_PASSCRED, [1], 4) = 0", "setsockopt SO_PASSCRED"),
        ("+0 `tc qdisc add dev tun0 root pfifo`", "the command `tc qdisc`"),
        ("+0 `ip route change 192.0.2.0/24 via 192.168.0.2`", "the command `ip route`"),
        ("+0 `sysctl -q net.ipv4.tcp_nothing=5`", "sysctl tcp_nothing=5"),
        ("+0 > . 1:1(0) ack 1 <md5 0123>", None),
        ("+0 < . 1:1(0) ack 1 win 5 <md5 00000000000000000000000000000000>", "TCP-MD5"),
        ("+0 < . 1:1(0) ack 1 win 5 <what 1>", "TCP option what"),
    ],
)
def test_what_only_a_kernel_has(line, reason):
    result = run_text(ACCEPTED + line)
    if reason is None:
        assert result.outcome is Outcome.FAIL  # nothing such is ever sent
    else:
        assert (result.outcome, result.reason) == (Outcome.UNSUPPORTED, reason), result.text()
        assert result.text() == f"<script>:10: unsupported: {reason}"
