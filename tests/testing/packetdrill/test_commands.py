"""The command, and the collector of pytest."""

import pytest
from click.testing import CliRunner

from asyncstack.cli.commands import cli
from tests.testing.packetdrill.scripts import ACCEPTED, LISTEN

pytest_plugins = ["pytester"]

GOOD = ACCEPTED + "+0 %{ print('seen', tcpi_snd_cwnd) }%"
BAD = ACCEPTED + "+0 > . 1:1(0) ack 9"
KERNEL = LISTEN + "+0 `tc qdisc show`"


@pytest.fixture
def scripts(tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "good.pkt").write_text(GOOD)
    (tmp_path / "kernel.pkt").write_text(KERNEL)
    return tmp_path


def invoke(*arguments):
    return CliRunner().invoke(cli, ["packetdrill", *map(str, arguments)])


def test_a_directory_is_all_below_it(scripts):
    done = invoke(scripts)
    assert done.exit_code == 0
    lines = done.output.splitlines()
    assert lines[-1] == "1 passed, 1 unsupported"
    assert lines[0] == f"{scripts / 'kernel.pkt'}:5: unsupported: the command `tc qdisc`"
    assert "good" not in done.output


def test_verbose_says_how_each_ended_and_what_it_printed(scripts):
    lines = invoke("-v", scripts / "below" / "good.pkt").output.splitlines()
    assert lines == ["seen 10", f"{scripts / 'below' / 'good.pkt'}: pass", "1 passed"]


def test_a_failure_is_told_and_is_the_exit_status(scripts):
    (scripts / "bad.pkt").write_text(BAD)
    done = invoke(scripts)
    assert done.exit_code == 1
    assert f"{scripts / 'bad.pkt'}:10: fail: no packet\n  script" in done.output
    assert done.output.splitlines()[-1] == "1 passed, 1 failed, 1 unsupported"


def test_options_stand_above_the_scripts_own(scripts):
    path = scripts / "v4.pkt"
    path.write_text("--ip_version=ipv4\n" + ACCEPTED.replace("mss 1460", "mss 1440"))
    assert invoke(path).exit_code == 1
    assert invoke("--ip-version", "ipv6", path).exit_code == 0


def test_options_may_be_spelt_as_packetdrill_does(scripts):
    path = scripts / "spelt.pkt"
    path.write_text(ACCEPTED)
    assert invoke("--ip_version=ipv6", path).exit_code == 1  # an MSS of 1440
    assert invoke("--ip_version=ipv6", "--mtu=1520", "--tolerance_usecs=10000", path).exit_code == 0


def test_addresses_of_both_ends(scripts):
    path = scripts / "addresses.pkt"
    path.write_text("""
   +0 socket(..., SOCK_DGRAM, IPPROTO_UDP) = 3
   +0 bind(3, {sa_family = AF_INET, sin_port = htons(80), sin_addr = inet_addr("10.1.0.1")}, ...) = 0
   +0 connect(3, {sa_family = AF_INET, sin_port = htons(80), sin_addr = inet_addr("10.2.0.1")}, ...) = 0
   +0 write(3, ..., 10) = 10
   +0 > udp (10)
""")
    assert invoke(path).exit_code == 1
    assert invoke("--local_ip=10.1.0.1", "--remote_ip=10.2.0.1", path).exit_code == 0


def test_words_are_defined_on_the_command_line(scripts):
    path = scripts / "defined.pkt"
    path.write_text(ACCEPTED + "+0 setsockopt(4, SOL_TCP, OPTION, [1], 4) = 0")
    assert invoke(path).exit_code == 1
    assert invoke("-D", "OPTION=TCP_NODELAY", path).exit_code == 0
    assert "NAME=VALUE" in invoke("-D", "OPTION", path).output


def test_pytest_collects_scripts(pytester):
    pytester.makefile(".pkt", good=GOOD, bad=BAD, kernel=KERNEL)
    scope = "asyncio_default_fixture_loop_scope=function"
    done = pytester.runpytest("-rs", "-p", "no:cacheprovider", "-o", scope)
    done.assert_outcomes(passed=1, failed=1, skipped=1)
    done.stdout.fnmatch_lines(
        [
            "*bad.pkt:9: fail: no packet",
            "*state   ESTABLISHED*",
            "*SKIPPED*unsupported: the command `tc qdisc`*",
        ]
    )
