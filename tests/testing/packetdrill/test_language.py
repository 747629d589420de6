"""What the grammar takes, and the records that come of it."""

import pytest

from asyncstack.testing.packetdrill.reader import read_script
from asyncstack.testing.packetdrill.script import (
    DOTS,
    CallLine,
    Clock,
    CodeLine,
    CommandLine,
    Either,
    Pair,
    ScriptError,
    Struct,
    UnsupportedError,
    When,
    Word,
)


def only(text):
    (event,) = read_script(text).events
    return event


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("0.5", When(Clock.ABSOLUTE, 0.5, 0.5)),
        ("+.002", When(Clock.RELATIVE, 0.002, 0.002)),
        ("1~2.5", When(Clock.ABSOLUTE, 1.0, 2.5)),
        ("+0.1~+.3", When(Clock.RELATIVE, 0.1, 0.3)),
        ("*", When(Clock.ANY)),
    ],
)
def test_times(text, when):
    assert only(f"{text} > . 1:1(0) ack 1").when == when


def test_a_blocking_call_has_the_time_of_its_end():
    event = only("+0.1...0.3 read(4, ..., 1000) = 500")
    assert (event.when, event.action.end) == (When(Clock.RELATIVE, 0.1, 0.1), 0.3)


@pytest.mark.parametrize(
    ("text", "flags", "ace"),
    [
        ("S", "S", None),
        ("S.", "S.", None),
        (".", ".", None),
        ("-", "", None),
        ("FP.", "FP.", None),
        ("SEWA", "SEWA", None),
        ("P.5", "P.", 5),
        ("P5.", "P.", 5),
        ("F5", "F", 5),
        (".0", ".", 0),
        ("UR.", "UR.", None),
    ],
)
def test_flags(text, flags, ace):
    body = only(f"0 < {text} 1:11(10) ack 7 win 100 urg 3").action.body
    assert (body.flags, body.ace) == (flags, ace)
    assert (body.seq, body.length, body.ack, body.window, body.urgent) == (1, 10, 7, (100, 100), 3)


@pytest.mark.parametrize(
    ("text", "window"),
    [("", None), ("win 5", (5, 5)), ("win 5~9", (5, 9)), ("win *", None), ("win ...", None)],
)
def test_windows(text, window):
    assert only(f"0 > . 1:1(0) ack 1 {text}").action.body.window == window


def test_options_in_their_order():
    text = "mss 1460,sackOK,TS val 100 ecr 0,nop,wscale 7,FO 0123abcd,FO,FOEXP 12,sack 1:2 5:6,eol,ECN e1b 1 ceb 0"
    body = only(f"0 > S 0:0(0) <{text}>").action.body
    assert ["TS", "val", "100", "ecr", "0"] in body.options
    assert ",".join(" ".join(words) for words in body.options) == text
    assert only("0 > S 0:0(0) <...>").action.body.options is None
    assert only("0 > S 0:0(0)").action.body.options == []


@pytest.mark.parametrize("brackets", ["[]", "()"])
def test_words_about_the_ip_header(brackets):
    left, right = brackets
    ip = only(f"0 < {left}tos 0x28,flowlabel 0x5{right} . 1:1(0) ack 1").action.ip
    assert (ip.tos, ip.flow_label, ip.ecn) == (0x28, 5, None)
    assert only(f"0 > {left}ect01{right} . 1:1(0) ack 1").action.ip.ecn == "ect01"
    assert only(f"0 > {left}ttl 3{right} . 1:1(0) ack 1").action.ip.ttl == 3


def test_ports_icmp_and_udp():
    assert only("0 < 1234 > 8080 . 1:1(0) ack 1").action.ports == (1234, 8080)
    assert only("0 > udp (1000)").action.body.length == 1000
    icmp = only("0 < icmp unreachable frag_needed mtu 1200 [1:1001(1000)]").action.body
    assert (icmp.kind, icmp.code, icmp.mtu, icmp.quoted, icmp.seq, icmp.length) == (
        *("unreachable", "frag_needed", 1200, "tcp"),
        *(1, 1000),
    )
    assert only("0 < icmp packet_too_big [udp (20)]").action.body.quoted == "udp"


def test_calls():
    call = only("+0 sendto(3, ..., 0, MSG_FASTOPEN|MSG_DONTWAIT, ..., ...) = -1 EAGAIN (Try it again)").action
    flags = Either([Word("MSG_FASTOPEN"), Word("MSG_DONTWAIT")])
    assert call == CallLine("sendto", [3, DOTS, 0, flags, DOTS, DOTS], -1, "EAGAIN", None)
    assert only("+0 fcntl(4, F_GETFL) = 0x802 (flags O_RDWR|O_NONBLOCK)").action.result == 0x802
    assert only('+0 write(4, "a\\x00b" "c"..., 4) = 4').action.arguments[1] == b"a\0bc"


def test_structs_and_arrays():
    call = only(
        """+0 sendmsg(4, {msg_name(...)=..., msg_iov(1)=[{..., 1000}],
                      msg_flags=0}, 0) = 1000"""
    ).action
    header = call.arguments[1]
    assert header.get("msg_iov") == [Struct([DOTS, 1000])]
    event = only("+0 epoll_wait(5, {events=EPOLLIN, fd=4}, 1, 0) = 1").action.arguments[1]
    assert event == Struct([Pair("events", Word("EPOLLIN")), Pair("fd", 4)])
    assert only("+0 getsockopt(3, SOL_TCP, TCP_MAXSEG, [100], [4]) = 0").action.arguments[3:] == [[100], [4]]


def test_the_rest_of_a_script():
    script = read_script(
        """--tolerance_usecs=75000
--define=CC=reno // a comment
/* and
   another */
`../../common/defaults.sh
 sysctl -q net.ipv4.tcp_sack=0`
0 `sysctl -q net.ipv4.tcp_sack=1`
+0 %{ a = {1: 2}
if a:
    print(a) }%
+0 setsockopt(3, SOL_TCP, TCP_CONGESTION, CC, 4) = 0
`/tmp/sysctl_restore_${PPID}.sh`
"""
    )
    assert script.options == [("tolerance_usecs", "75000"), ("define", "CC=reno")]
    (init,) = script.init
    assert init.action.text.split() == ["../../common/defaults.sh", "sysctl", "-q", "net.ipv4.tcp_sack=0"]
    command, code, call = script.events
    assert command.action == CommandLine("sysctl -q net.ipv4.tcp_sack=1")
    assert code.action == CodeLine(" a = {1: 2}\nif a:\n    print(a) ")
    assert call.action.arguments[3] == Word("reno")
    assert [event.line for event in script.events] == [7, 8, 11]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 > . 1:1 ack 1", "line 1, column 11: not understood"),
        ("0 close(3) = 0\n\n+0 <", "line 3"),
        ("0 > . 1:2(0) ack 1", "1:2(0)"),
        ("0 > XY. 1:1(0) ack 1", "unknown flags XY."),
    ],
)
def test_what_is_no_script_says_where(text, message):
    with pytest.raises(ScriptError) as caught:
        read_script(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0 < P. 1:21(20) ack 1 win 257 {rep tcp win_size 0x1021}", "mutated packets"),
        ("0 < mpls (label 1, tc 0, [S], ttl 3): . 1:1(0) ack 1", "MPLS"),
        ("0 > S 0:0(0) <mss 1460,mp_capable v1 flags[flag_h] {a}>", "MPTCP"),
        ("0 < gre: . 1:1(0) ack 1", "GRE"),
        ("0 < ipv4 1.2.3.4 > 5.6.7.8: . 1:1(0) ack 1", "encapsulation"),
    ],
)
def test_what_only_a_kernel_has_is_named(text, reason):
    with pytest.raises(UnsupportedError) as caught:
        read_script(text)
    assert str(caught.value) == reason
