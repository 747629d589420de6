"""Shell commands answered by the table."""

import pytest

from asyncstack.testing.packetdrill.script import UnsupportedError
from asyncstack.testing.packetdrill.settings import Settings


def after(command):
    settings = Settings()
    settings.run(command)
    return settings.config.tcp


def test_the_defaults_of_the_public_suites_are_what_a_script_starts_from():
    config = Settings().config.tcp
    assert (config.receive_buffer, config.send_buffer, config.nodelay) == (15 << 20, 4 << 20, False)
    settings = Settings()
    settings.run("sysctl -q net.ipv4.tcp_sack=0\n../../common/defaults.sh")
    assert settings.config == Settings().config


@pytest.mark.parametrize(
    ("command", "field", "value"),
    [
        ("sysctl -q net.ipv4.tcp_sack=0", "sack", False),
        ("sysctl -w -q net.ipv4.tcp_timestamps=0 > /dev/null 2>&1", "timestamps", False),
        ("./set_sysctls.py /proc/sys/net/ipv4/tcp_window_scaling=0", "window_scaling", False),
        ('../set_sysctls.py /proc/sys/net/ipv4/tcp_rmem="4096 9000 20000"', "receive_buffer", 20000),
        ('sysctl -q net.ipv4.tcp_wmem="4096 9000 30000"', "send_buffer", 30000),
        ('sysctl -q net.ipv4.tcp_rmem="4096 9000 $((32*1024*1024))"', "receive_buffer", 32 << 20),
        ("sysctl -q net.ipv4.tcp_congestion_control=reno", "congestion", "reno"),
        ("true && sysctl -q net.ipv4.tcp_syn_retries=2", "syn_retries", 2),
        ("./defaults.sh\n sysctl -q \\\n net.ipv4.tcp_sack=0 net.ipv4.tcp_synack_retries=1", "sack", False),
        ("sysctl -q net.ipv4.tcp_sack=0  # none", "sack", False),
        ("echo 3 > /proc/sys/net/ipv4/tcp_keepalive_probes", "keepalive_count", 3),
        ("sysctl -q net.ipv4.tcp_keepalive_time=7", "keepalive_idle", 7.0),
    ],
)
def test_a_command_sets_a_field(command, field, value):
    assert getattr(after(command), field) == value


def test_the_time_of_so_many_retransmissions():
    assert after("sysctl -q net.ipv4.tcp_retries2=2").user_timeout == pytest.approx(0.2 + 0.4 + 0.8)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("tc qdisc add dev tun0 root fq", "the command `tc qdisc`"),
        ("sysctl -q net.ipv4.tcp_strange=1", "sysctl tcp_strange=1"),
        ("sysctl -q net.ipv4.tcp_recovery=0", "sysctl tcp_recovery=0"),
    ],
)
def test_what_we_do_not_have_is_named(command, reason):
    with pytest.raises(UnsupportedError) as caught:
        after(command)
    assert str(caught.value) == reason


def test_what_makes_no_difference_does_nothing():
    before = Settings().config
    settings = Settings()
    settings.run(
        "/tmp/sysctl_restore_${PPID}.sh\nip tcp_metrics flush all > /dev/null 2>&1\nsysctl -q net.ipv4.tcp_fack=1"
    )
    assert settings.config == before
