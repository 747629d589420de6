"""Dialogues about TCP Fast Open (RFC 7413), without a network: cookies are given by hand."""

import pytest

from asyncstack.config import TcpConfig
from asyncstack.transport.tcp.fast_open import WAIT, serve
from asyncstack.transport.tcp.fast_open_cookies import (
    QUARANTINE,
    REMEMBERED,
    RESET_TIME,
    ROTATION,
    FastOpenQueue,
    Keys,
    Servers,
)
from asyncstack.transport.tcp.state import State
from asyncstack.wire.tcp import SYN, Segment
from tests.transport.tcp.dialogue import Dialogue

COOKIE = b"12345678"
SERVER, CLIENT = b"\x0a\0\0\1", b"\x0a\0\0\2"
CONFIG = TcpConfig(fast_open=5)


def answer(cookie: bytes | None, mss: int = 1460, experimental: bool = False) -> Segment:
    """The part of a SYN-ACK that a client learns from."""
    return Segment(1, 2, 0, 1, SYN, 0, mss=mss, fast_open=cookie, experimental=experimental)


def knowing(cookie: bytes = COOKIE, mss: int = 1460) -> Servers:
    servers = Servers()
    servers.learn(SERVER, answer(cookie, mss), False, False, False, 0.0)
    return servers


def client(servers: Servers, wait: float = 0.0, data: bytes = b"", **options) -> Dialogue:
    """An open of a connection to SERVER, with `data` written at once."""
    config = options.pop("config", CONFIG)
    d = Dialogue(config, **options)
    d.connection.fast_open = servers.opening(SERVER, config, d.now, wait)
    d.connection.open(d.now)
    if data:
        d.connection.write(data)
    return d


class Host:
    """A listener's part: what it does with a SYN."""

    def __init__(self, config: TcpConfig = CONFIG) -> None:
        self.config = config
        self.keys = Keys(bytes(32))
        self.queue = FastOpenQueue(self.keys)

    def cookie(self, now: float = 0.0) -> bytes:
        return self.keys.cookies(CLIENT, SERVER, self.config.fast_open_key, now)[0]

    def syn(
        self, cookie: bytes | None, data: bytes = b"", now: float = 0.0, flags: str = "S", **options
    ) -> Dialogue:
        """A connection for the SYN."""
        d = Dialogue(self.config, **options)
        d.now = now

        def listen(connection, syn, now):
            fast = self.queue.receive_syn(CLIENT, SERVER, syn, self.config, now)
            if fast is not None:
                serve(connection, syn, fast, now)

        d.listener = listen
        d.inject(flags, seq=0, ack=None, data=data, fast_open=cookie)
        return d


# 4.2.1 the client


def test_rfc7413_4_2_1_a_client_without_a_cookie_asks_for_one_and_sends_after_the_handshake():
    servers = Servers()
    d = client(servers, data=b"request")
    segment = d.expect("S", length=0)
    assert segment.fast_open == b""
    d.inject("SA", seq=0, ack=1, fast_open=COOKIE)
    d.expect("A", seq=1, data=b"request")
    assert client(servers, data=b"request").expect("S", data=b"request").fast_open == COOKIE


def test_rfc7413_4_2_1_data_rides_on_the_syn():
    d = client(knowing(), data=b"request")
    segment = d.expect("S", seq=0, data=b"request", ecn=0)
    assert segment.fast_open == COOKIE
    d.inject("SA", seq=0, ack=8)
    assert "opened" in d.events
    d.expect("A", seq=8, ack=1, length=0)
    assert d.connection.fast_open.syn_data
    assert d.connection.queued == 0
    d.inject("A", data=b"reply", ack=8)
    assert d.read() == b"reply"


def test_rfc7413_4_2_1_what_the_syn_ack_does_not_acknowledge_is_sent_at_once():
    d = client(knowing(), data=b"request")
    d.expect("S", data=b"request")
    d.inject("SA", seq=0, ack=1)
    d.expect("A", seq=1, ack=1, data=b"request", at=0.0)
    d.inject("A", ack=8)
    assert not d.connection.fast_open.syn_data


def test_rfc7413_4_2_1_a_syn_ack_for_a_part_of_the_data():
    d = client(knowing(), data=b"request")
    d.expect("S", data=b"request")
    d.inject("SA", seq=0, ack=4)
    d.expect("A", seq=4, ack=1, data=b"uest")
    assert not d.connection.fast_open.syn_data


@pytest.mark.parametrize("ack", [0, 9, 100_001])
def test_rfc7413_4_2_1_a_syn_ack_for_more_than_the_syn_brought_is_reset(ack):
    d = client(knowing(), data=b"request")
    d.expect("S", data=b"request")
    d.inject("SA", seq=0, ack=ack)
    d.expect("R", seq=ack)
    assert d.connection.state is State.SYN_SENT


def test_rfc7413_4_1_3_the_data_on_a_syn_fits_the_mss_of_the_last_syn_ack():
    d = client(knowing(mss=940), data=bytes(3000))
    d.expect("S", length=900)  # less the room of all options
    d.inject("SA", seq=0, ack=901)
    d.expect("A", seq=901, length=1448)
    d.expect("A", seq=2349, length=652)


def test_rfc7413_4_1_3_the_data_on_a_syn_fits_the_path():
    d = client(knowing(mss=9000), data=bytes(3000))
    d.expect("S", length=1420)


def test_rfc7413_4_2_1_a_repeated_syn_has_neither_cookie_nor_data():
    servers = knowing()
    d = client(servers, data=b"request")
    d.expect("S", data=b"request")
    d.wait(1.0)
    assert d.expect("S", length=0).fast_open is None
    d.inject("SA", seq=0, ack=1)
    d.expect("A", seq=1, data=b"request")


def test_rfc7413_4_1_3_a_path_that_loses_syns_with_data_is_left_alone_for_a_while():
    servers = knowing()
    for times in range(1, 4):
        d = client(servers, data=b"request")
        d.expect("S", data=b"request")
        d.wait(1.0)
        d.expect("S", length=0)
        d.inject("SA", seq=0, ack=1)
        d.expect("A", data=b"request")
        quiet = d.connection.heard_at + QUARANTINE * (1 << (times - 1))
        assert servers.opening(SERVER, CONFIG, quiet - 1.0, 0.0) is None
        assert servers.opening(SERVER, CONFIG, quiet, 0.0).cookie == COOKIE
        servers._known[SERVER].lost_at = -1e9  # much later


def test_rfc7413_4_1_3_a_syn_that_gets_through_ends_the_quarantine():
    servers = knowing()
    servers.learn(SERVER, answer(None), True, False, False, 0.0)
    assert servers.opening(SERVER, CONFIG, 1.0, 0.0) is None
    servers.learn(SERVER, answer(None), False, False, False, 1.0)
    assert servers.opening(SERVER, CONFIG, 1.0, 0.0).cookie == COOKIE


def test_a_cookie_that_comes_after_a_lost_request_is_kept():
    servers = Servers()
    d = client(servers)
    d.expect("S")
    d.wait(1.0)
    assert d.expect("S").fast_open is None
    d.inject("SA", seq=0, ack=1, fast_open=COOKIE)
    assert servers.opening(SERVER, CONFIG, d.now, 0.0).cookie == COOKIE


def test_a_cookie_that_nobody_asked_for_is_ignored():
    d = Dialogue()
    d.connection.open(d.now)
    assert d.expect("S").fast_open is None
    d.inject("SA", seq=0, ack=1, fast_open=COOKIE)
    d.expect("A")


def test_a_new_cookie_takes_the_place_of_the_old_one():
    servers = knowing()
    d = client(servers, data=b"request")
    d.expect("S", data=b"request")
    d.inject("SA", seq=0, ack=8, fast_open=b"abcdefghijkl")
    assert servers.opening(SERVER, CONFIG, 0.0, 0.0).cookie == b"abcdefghijkl"


def test_a_server_that_does_not_know_the_option_is_asked_once_with_the_experimental_one():
    servers = Servers()
    for experimental in (False, True, False, False):
        d = client(servers, data=b"x")
        segment = d.expect("S", length=0)
        assert (segment.fast_open, segment.experimental) == (b"", experimental)
        d.inject("SA", seq=0, ack=1)
        d.expect("A", data=b"x")


def test_a_cookie_of_the_experimental_option_goes_back_in_it():
    servers = Servers()
    servers.learn(SERVER, answer(COOKIE, experimental=True), False, False, True, 0.0)
    segment = client(servers, data=b"x").expect("S", length=1)
    assert (segment.fast_open, segment.experimental) == (COOKIE, True)


def test_rfc7413_4_1_3_the_memory_of_servers_is_bounded():
    servers = Servers()
    for number in range(REMEMBERED + 10):
        servers.learn(number.to_bytes(4, "big"), answer(COOKIE), False, False, False, 0.0)
        servers.learn(bytes(4), answer(COOKIE), False, False, False, 0.0)  # in use all the time
    assert len(servers) == REMEMBERED
    assert servers.opening(bytes(4), CONFIG, 0.0, False).cookie == COOKIE
    assert servers.opening((5).to_bytes(4, "big"), CONFIG, 0.0, False).cookie == b""


def test_without_cookies_data_rides_on_any_syn():
    config = TcpConfig(fast_open=1, fast_open_without_cookie=True)
    assert client(Servers(), data=b"x", config=config).expect("S", length=1).fast_open is None


# as with TCP_FASTOPEN_CONNECT


def test_with_a_cookie_an_open_succeeds_at_once_and_the_syn_waits_for_data():
    d = client(knowing(), wait=WAIT)
    d.quiet()
    assert d.events == ["opened"]
    d.write(b"request")
    d.expect("S", data=b"request", at=0.0)
    d.inject("SA", seq=0, ack=8)
    d.expect("A", seq=8)
    assert d.events.count("opened") == 1


def test_the_syn_does_not_wait_for_ever_since_the_peer_may_speak_first():
    d = client(knowing(), wait=WAIT)
    assert d.wait_for_segment() == WAIT
    assert d.expect("S", length=0).fast_open == COOKIE
    d.wait(1.0 - WAIT)
    d.inject("SA", seq=0, ack=1, data=b"220 hello")
    d.expect("A", ack=10)
    assert d.read() == b"220 hello"


def test_without_a_cookie_an_open_waits_for_the_handshake():
    d = client(Servers(), wait=WAIT)
    d.expect("S", at=0.0)
    assert d.events == []


def test_what_was_written_before_a_close_arrives():
    d = client(knowing(), wait=WAIT)
    d.connection.write(b"request")
    d.connection.close(d.now)
    d.expect("S", data=b"request")
    d.inject("SA", seq=0, ack=8)
    d.expect("FA", seq=8)


def test_a_close_before_anything_was_written_is_silent():
    d = client(knowing(), wait=WAIT)
    d.connection.close(d.now)
    d.quiet()
    assert d.connection.state is State.CLOSED


def test_a_refusal_comes_after_the_open():
    d = client(knowing(), wait=WAIT, data=b"x")
    d.expect("S", data=b"x")
    d.inject("RA", seq=0, ack=1)
    assert d.events == ["opened", "closed"]


def test_both_ends_open_at_once():
    d = client(knowing(), data=b"request")
    d.expect("S", data=b"request")
    d.inject("S", seq=0, ack=None, data=b"theirs", fast_open=COOKIE)
    assert d.expect("SA", seq=0, ack=1, length=0).fast_open is None


# 4.2.2 the server


def test_rfc7413_4_1_2_a_request_is_answered_by_a_cookie():
    host = Host()
    d = host.syn(b"")
    assert d.expect("SA", ack=1).fast_open == host.cookie()
    assert d.connection.state is State.SYN_RECEIVED
    assert d.events == []


def test_rfc7413_4_2_2_data_is_read_and_answered_before_the_handshake_is_complete():
    host = Host()
    d = host.syn(host.cookie(), b"request")
    segment = d.expect("SA", seq=0, ack=8)
    assert segment.fast_open is None
    assert d.events == ["opened", "readable"]
    assert d.read() == b"request"
    assert d.connection.fast_open.syn_data
    d.write(b"reply")
    d.expect("A", seq=1, ack=8, data=b"reply")
    assert d.connection.state is State.SYN_RECEIVED
    d.inject("A", seq=8, ack=6)
    assert d.connection.state is State.ESTABLISHED
    assert d.connection.queued == 0
    assert d.events.count("opened") == 1


def test_a_valid_cookie_without_data_opens_too():
    host = Host()
    d = host.syn(host.cookie())
    d.expect("SA", ack=1)
    assert d.events == ["opened"]
    assert not d.connection.fast_open.syn_data
    d.write(b"220 hello")
    d.expect("A", seq=1, ack=1, data=b"220 hello")


def test_rfc7413_4_2_2_an_ack_of_the_syn_alone_completes_the_handshake():
    host = Host()
    d = host.syn(host.cookie(), b"request")
    d.expect("SA", ack=8)
    d.write(b"reply")
    d.expect("A", data=b"reply")
    d.inject("A", seq=8, ack=1)
    assert d.connection.state is State.ESTABLISHED
    d.wait_for_segment()
    d.expect("A", seq=1, data=b"reply")


@pytest.mark.parametrize("probe", [False, True])
def test_rfc7413_4_2_2_only_the_syn_ack_is_repeated_until_it_is_acknowledged(probe):
    host = Host(TcpConfig(fast_open=5, tail_loss_probe=probe))
    d = host.syn(host.cookie(), b"request")
    d.expect("SA", ack=8)
    d.write(b"reply")
    d.expect("A", data=b"reply")
    d.wait(1.0)
    d.expect("SA", seq=0, ack=8)
    d.quiet()
    d.write(b", more")
    d.expect("A", seq=6, data=b", more")
    d.inject("A", seq=8, ack=1)
    d.wait(3.0)
    d.expect("A", seq=6, length=6) if probe else d.expect("A", seq=1, length=11)


def test_rfc7413_4_2_2_the_initial_window_holds():
    host = Host(TcpConfig(fast_open=5, initial_window=2))
    d = host.syn(host.cookie(), b"request")
    d.expect("SA")
    d.write(10 * 1448)
    d.expect("A", seq=1, length=1448)
    d.expect("A", seq=1449, length=1448)
    d.quiet()


@pytest.mark.parametrize("cookie", [b"abcd", b"12345678", b"1234567890123456"])
def test_rfc7413_4_1_2_a_bad_cookie_is_answered_by_the_right_one_and_the_data_waits(cookie):
    host = Host()
    d = host.syn(cookie, b"request")
    assert d.expect("SA", ack=1).fast_open == host.cookie()
    assert d.events == []
    d.inject("A", seq=1, ack=1, data=b"request")
    assert d.read() == b"request"


def test_a_syn_with_data_and_no_option_is_one_like_any_other():
    d = Host().syn(None, b"request")
    assert d.expect("SA", ack=1).fast_open is None


def test_without_cookies_data_is_taken_from_any_syn():
    d = Host(TcpConfig(fast_open=5, fast_open_without_cookie=True)).syn(None, b"request")
    d.expect("SA", ack=8)
    assert d.read() == b"request"


def test_the_experimental_option_is_answered_by_itself():
    keys = Keys(bytes(32))
    syn = Segment(1, 2, 0, 0, SYN, 0, fast_open=b"", experimental=True)
    fast = FastOpenQueue(keys).receive_syn(CLIENT, SERVER, syn, CONFIG, 0.0)
    assert (fast.cookie, fast.experimental, fast.valid) == (
        keys.cookies(CLIENT, SERVER, b"", 0.0)[0],
        True,
        False,
    )


def test_rfc7413_4_2_2_a_repeated_syn_without_data_is_answered_for_the_data_too():
    host = Host()
    d = host.syn(host.cookie(), b"request")
    d.expect("SA", ack=8)
    d.inject("S", seq=0, ack=None)
    d.expect("SA", seq=0, ack=8)
    d.inject("A", seq=8, ack=1)
    assert d.connection.state is State.ESTABLISHED


def test_the_syn_ack_is_given_up_at_last():
    host = Host(TcpConfig(fast_open=5, synack_retries=2))
    d = host.syn(host.cookie(), b"request")
    d.wait(60.0)
    assert d.connection.state is State.CLOSED
    assert d.events == ["opened", "readable", "closed"]
    assert host.queue.pending == 0


def test_a_reset_leaves_the_data_to_be_read():
    host = Host()
    d = host.syn(host.cookie(), b"request")
    d.expect("SA")
    d.inject("R", seq=8, ack=None)
    assert d.events[-1] == "closed"
    assert d.connection.state is State.CLOSED
    assert d.read() == b"request"


def test_a_close_with_unread_data_resets():
    host = Host()
    d = host.syn(host.cookie(), b"request")
    d.expect("SA")
    d.connection.close(d.now)
    d.expect("RA", seq=1, ack=8)


def test_a_close_sends_its_fin_once_the_handshake_is_complete():
    host = Host()
    d = host.syn(host.cookie(), b"request")
    d.expect("SA")
    d.read()
    d.write(b"reply")
    d.connection.close(d.now)
    d.expect("A", data=b"reply")
    d.inject("A", seq=8, ack=6)
    d.expect("FA", seq=6)


def test_a_fin_after_the_data():
    host = Host()
    d = host.syn(host.cookie(), b"request")
    d.expect("SA", ack=8)
    d.inject("FA", seq=8, ack=1)
    d.wait(0.05)
    d.expect("A", ack=9)
    assert d.connection.state is State.CLOSE_WAIT


def test_an_ack_of_what_was_not_sent_is_challenged():
    host = Host()
    d = host.syn(host.cookie(), b"request")
    d.expect("SA")
    d.inject("A", seq=8, ack=2)
    d.expect("A", seq=1, ack=8)
    assert d.connection.state is State.SYN_RECEIVED


def test_with_ecn():
    host = Host(TcpConfig(fast_open=5, ecn="on"))
    d = host.syn(host.cookie(), b"request", flags="SEC")
    d.expect("SAE", ack=8)
    d.write(b"reply")
    d.expect("A", data=b"reply", ecn=2)


# 5.1 resource exhaustion


def test_rfc7413_5_1_handshakes_that_are_not_complete_are_limited():
    host = Host(TcpConfig(fast_open=2))
    first = host.syn(host.cookie(), b"a")
    host.syn(host.cookie(), b"b")
    refused = host.syn(host.cookie(), b"c")
    assert refused.expect("SA", ack=1).fast_open is None
    first.flush()
    first.inject("A", seq=2, ack=1)
    assert host.queue.pending == 1
    host.syn(host.cookie(), b"d").expect("SA", ack=2)


def test_rfc7413_5_1_a_reset_handshake_counts_for_a_while():
    host = Host(TcpConfig(fast_open=1))
    d = host.syn(host.cookie(), b"a")
    d.expect("SA")
    d.inject("R", seq=2, ack=None)
    assert host.queue.pending == 0
    host.syn(host.cookie(), b"b", now=1.0).expect("SA", ack=1)
    host.syn(host.cookie(), b"c", now=RESET_TIME + 0.5).expect("SA", ack=1)
    host.syn(host.cookie(), b"d", now=RESET_TIME + 1.0).expect("SA", ack=2)


# cookies


def test_cookies_are_those_of_linux_with_the_same_key():
    words = ("a1a1a1a1", "b2b2b2b2", "c3c3c3c3", "d4d4d4d4")  # net.ipv4.tcp_fastopen_key of public scripts
    key = b"".join(bytes.fromhex(word)[::-1] for word in words)
    fresh, before = Keys(b"").cookies(bytes((192, 0, 2, 1)), bytes((192, 168, 0, 1)), key, 0.0)
    assert fresh == before == bytes.fromhex("3021b9d889017eeb")


def test_rfc7413_4_1_2_keys_rotate_and_the_last_cookie_is_good_for_one_more_period():
    host = Host()
    old = host.cookie()
    assert host.cookie(ROTATION - 1.0) == old
    d = host.syn(old, b"x", now=ROTATION)
    segment = d.expect("SA", ack=2)
    assert segment.fast_open == host.cookie(ROTATION) != old
    assert host.syn(old, b"x", now=2 * ROTATION).expect("SA", ack=1).fast_open == host.cookie(2 * ROTATION)


def test_a_second_key_of_the_settings_is_good_but_replaced():
    first, second = bytes(range(16)), bytes(range(16, 32))
    old = Host(TcpConfig(fast_open=5, fast_open_key=second))
    new = Host(TcpConfig(fast_open=5, fast_open_key=first + second))
    assert new.syn(old.cookie(), b"x").expect("SA", ack=2).fast_open == new.cookie()


def test_cookies_of_two_clients_differ():
    keys = Keys(bytes(32))
    assert keys.cookies(CLIENT, SERVER, b"", 0.0) != keys.cookies(SERVER, CLIENT, b"", 0.0)


def test_a_key_of_another_length_is_an_error_of_use():
    with pytest.raises(ValueError, match="fast_open_key of 8 bytes"):
        TcpConfig(fast_open_key=bytes(8))
