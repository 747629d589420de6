"""What environment variables and TOML files say, and what is said of those that can not be."""

import textwrap
from pathlib import Path

import pytest

from asyncstack import StackConfig
from asyncstack.loop import settings as module
from asyncstack.loop.settings import Settings
from asyncstack.loop.tables import SettingsError
from asyncstack.network.addresses import parse_address

INTERFACE = """
[[interface]]
tun = "as0"
addresses = ["10.9.0.2/24", "fd09::2/64"]
peer = "10.9.0.1/24"
"""

NETWORK = """
[network]
stands_on = "server"
seed = 1

[network.hosts]
client = "10.8.0.1/24"
server = ["10.8.0.2/24"]

[[network.links]]
between = ["client", "server"]
delay = 0.01
rate = 1e8

[[network.publish]]
at = "127.0.0.1:8080"
to = "server:80"
"""


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str) -> str:
        path = tmp_path / "stack.toml"
        path.write_text(text)
        return str(path)

    return write


def test_the_example(write):
    """The one in the documentation, which has all there is."""
    settings = Settings.read(
        write(textwrap.dedent(module.__doc__.partition("\n\n")[2].partition("\nA file is")[0]))
    )
    assert settings.interface[0].tun == "as0"
    assert settings.network.links[0].rate == 100e6
    assert settings.network.publish[0].via == "client"
    assert (settings.stack.ttl, settings.stack.tcp.congestion) == (64, "bbr")
    assert settings.stack.dns.nameservers == ["10.9.0.1"]


def test_an_interface(write):
    settings = Settings.read(
        write(
            INTERFACE
            + '[hosts]\ndb = "10.9.0.7"\n[stack]\nttl = 9\ntcp.congestion = "bbr"\ntcp.max_rto = 5\n'
        )
    )
    (interface,) = settings.interface
    assert (interface.tun, interface.tap, interface.mtu, interface.offload) == ("as0", None, 1500, True)
    assert interface.peer == ["10.9.0.1/24"]
    assert settings.addresses == [(parse_address("10.9.0.2"), 24), (parse_address("fd09::2"), 64)]
    assert settings.hosts == {"db": ["10.9.0.7"]}
    assert (settings.stack.ttl, settings.stack.tcp.congestion, settings.stack.tcp.max_rto) == (9, "bbr", 5.0)
    assert settings.stack.time_wait_limit == StackConfig().time_wait_limit


def test_an_interface_whose_addresses_come_by_themselves(write):
    settings = Settings.read(
        write('[[interface]]\ntap = "as0"\naddresses = ["dhcp4", "fd09::2/64", "slaac"]')
    )
    assert settings.interface[0].words == ["dhcp4", "slaac"]
    assert settings.addresses == [(parse_address("fd09::2"), 64)]


def test_a_network(write):
    network = Settings.read(write(NETWORK)).network
    assert network.hosts == {"client": ["10.8.0.1/24"], "server": ["10.8.0.2/24"]}
    assert (network.program, network.links[0].between, network.links[0].delay) == (
        "server",
        ["client", "server"],
        0.01,
    )
    assert (network.publish[0].at, network.publish[0].to) == ("127.0.0.1:8080", "server:80")


def test_every_kind_of_value(write):
    stack = Settings.read(
        write(
            INTERFACE
            + '[stack]\nephemeral_ports = [1000, 2000]\n[stack.tcp]\nsyn_cookies = "always"\npacing = true\n'
            + f'linger = 1\nmax_pacing_rate = inf\nfast_open_key = "{"ab" * 16}"\n'
        )
    ).stack
    assert stack.ephemeral_ports == (1000, 2000)
    assert (stack.tcp.syn_cookies, stack.tcp.pacing, stack.tcp.linger) == ("always", True, 1.0)
    assert (stack.tcp.max_pacing_rate, stack.tcp.fast_open_key) == (float("inf"), b"\xab" * 16)


MISTAKES = {
    "no TOML": ("[[interface]", "Expected"),
    "nothing": ("", "neither [[interface]] nor [network]"),
    "a key of nothing": (
        INTERFACE + "gatway = 1",
        ": interface 1: unknown key 'gatway'; there are addresses, capture",
    ),
    "a table of nothing": (
        INTERFACE + "[tcp]",
        "unknown key 'tcp'; there are hosts, interface, loopback, network, stack",
    ),
    "a field of nothing": (
        INTERFACE + "[stack.tcp]\nmss = 1",
        ": stack: tcp: unknown key 'mss'; there are accecn_option",
    ),
    "a MAC on a TUN": (INTERFACE + 'mac = "02:00:5e:10:00:01"', ": mac: a TUN has no Ethernet address"),
    "a text for a number": (INTERFACE + 'mtu = "x"', ": interface 1: mtu: 'x' is not a whole number"),
    "a number for a text": (INTERFACE + "capture = 1", ": capture: 1 is not a text"),
    "true for a number": (INTERFACE + "[stack]\nttl = true", ": stack: ttl: True is not a whole number"),
    "no member": (
        INTERFACE + '[stack.tcp]\nsyn_cookies = "no"',
        "'no' is not one of 'off', 'when full', 'always'",
    ),
    "no mode": (INTERFACE + '[stack.tcp]\necn = "no"', ": stack: tcp: ecn='no': give one of off"),
    "too few": (INTERFACE + "[stack]\nephemeral_ports = [1]", "ephemeral_ports: [1] is not a list of 2"),
    "no hexadecimal": (INTERFACE + '[stack.tcp]\nfast_open_key = "xy"', "'xy' is no hexadecimal text"),
    "an interface of two kinds": (INTERFACE + 'tap = "as1"', ": interface 1: give one of tun and tap"),
    "no address": ('[[interface]]\ntun = "as0"', ": interface 1: addresses: the stack needs one of its own"),
    "what is no address": (
        INTERFACE.replace("10.9.0.2/24", "10.9.0"),
        ": addresses: '10.9.0': '10.9.0' is no IPv4 or IPv6 address",
    ),
    "an address without length": (
        INTERFACE.replace("10.9.0.2/24", "10.9.0.2"),
        ": interface 1: addresses: '10.9.0.2' needs a prefix length, such as 10.9.0.2/24",
    ),
    "no such word": (
        INTERFACE.replace("10.9.0.2/24", "dhcp"),
        ": interface 1: addresses: 'dhcp' is no source of addresses: give an address, or one of dhcp4",
    ),
    "a word on a TUN": (
        INTERFACE.replace("10.9.0.2/24", "dhcp4"),
        ": interface 1: addresses: dhcp4 needs Ethernet",
    ),
    "a host without length": (
        NETWORK.replace("10.8.0.2/24", "10.8.0.2"),
        ": network: hosts: server: '10.8.0.2' needs a prefix length",
    ),
    "a peer without length": (
        INTERFACE.replace("10.9.0.1/24", "10.9.0.1"),
        "peer: peer '10.9.0.1' needs a prefix",
    ),
    "what is no gateway": (INTERFACE + 'gateway = "10.9.0.1/24"', ": gateway: "),
    "no table": ("interface = 1", "interface: 1 is not a list"),
    "no hosts": ("[network]\nhosts = {}", ": network: hosts: a network needs one"),
    "no such host": (
        NETWORK.replace('"server"\nseed', '"sever"\nseed'),
        ": stands_on: no host 'sever'; there are client",
    ),
    "a link to nobody": (
        NETWORK.replace('["client", ', '["cleint", '),
        ": links 1: between: no host 'cleint'",
    ),
    "a link of one": (
        NETWORK.replace('["client", "server"]', '["client"]'),
        ": links 1: between: give the names of two",
    ),
    "more than all lost": (
        NETWORK.replace("rate", "loss"),
        ": links 1: loss=100000000.0: give a probability",
    ),
    "no port": (NETWORK.replace("127.0.0.1:8080", "8080"), ": publish 1: at: '8080' is not HOST:PORT"),
    "a target that is nobody": (NETWORK.replace("server:80", "sever:80"), ": publish 1: to: no host 'sever'"),
    "any port": (NETWORK.replace("8080", "0"), ": publish 1: at: give a port"),
    "no address of a name": (INTERFACE + '[hosts]\ndb = "x"', ": hosts: db: 'x' does not appear"),
}


@pytest.mark.parametrize("text, expected", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_with_its_place(text, expected, write):
    path = write(text)
    with pytest.raises(SettingsError) as told:
        Settings.read(path)
    assert str(told.value).startswith(f"{path}: ")
    assert expected in str(told.value)


def test_variables():
    settings = Settings.from_environment(
        {
            "ASYNCSTACK_TAP": "as0",
            "ASYNCSTACK_ADDRESSES": "10.9.0.2/24, fd09::2/64",
            "ASYNCSTACK_PEER": "10.9.0.1/24",
            "ASYNCSTACK_GATEWAY": "10.9.0.254",
            "ASYNCSTACK_MTU": "9000",
            "ASYNCSTACK_OFFLOAD": "false",
            "ASYNCSTACK_CAPTURE": "x.pcapng",
            "ASYNCSTACK_MAC": "02:00:5e:10:00:01",
            "ASYNCSTACK_NAMESERVERS": "10.9.0.1,fd09::1",
            "HOME": "/",
        }
    )
    (interface,) = settings.interface
    assert (interface.tun, interface.tap, interface.mac) == (None, "as0", "02:00:5e:10:00:01")
    assert interface.addresses == ["10.9.0.2/24", "fd09::2/64"]
    assert (interface.peer, interface.gateway) == (["10.9.0.1/24"], ["10.9.0.254"])
    assert (interface.mtu, interface.offload, interface.capture) == (9000, False, "x.pcapng")
    assert settings.stack.dns.nameservers == ["10.9.0.1", "fd09::1"]


def test_a_variable_names_the_file(write):
    assert Settings.from_environment({"ASYNCSTACK_CONFIG": write(NETWORK)}).network.program == "server"


def test_no_variables():
    assert Settings.from_environment({"HOME": "/", "ASYNCSTACK_TUN": ""}) is None


VARIABLES = {
    "a file that is not there": ({"CONFIG": "no/such.toml"}, "no/such.toml"),
    "a file and more": (
        {"CONFIG": "x", "TUN": "as0"},
        "ASYNCSTACK_CONFIG=x and ASYNCSTACK_TUN: put all of it into",
    ),
    "of nothing": (
        {"TUN": "as0", "ADDRESS": "x"},
        "ASYNCSTACK_ADDRESS: unknown; there are ASYNCSTACK_CONFIG",
    ),
    "of nothing, and what there is": (
        {"NAMESERVER": "10.9.0.1"},
        "ASYNCSTACK_CAPTURE, ASYNCSTACK_NAMESERVERS",
    ),
    "addresses without interface": (
        {"ADDRESSES": "10.9.0.2/24"},
        "ASYNCSTACK_ADDRESSES: give one of tun and tap",
    ),
    "servers without interface": (
        {"NAMESERVERS": "10.9.0.1"},
        "ASYNCSTACK_NAMESERVERS: give one of tun and tap",
    ),
    "no number": ({"TUN": "as0", "ADDRESSES": "10.9.0.2/24", "MTU": "x"}, "mtu: 'x' is not a whole number"),
    "what is no server": (
        {"TUN": "as0", "ADDRESSES": "10.9.0.2/24", "NAMESERVERS": "x"},
        "NAMESERVERS: dns: nameservers=['x']: 'x' is no address",
    ),
    "neither yes nor no": ({"TUN": "as0", "OFFLOAD": "perhaps"}, "offload: 'perhaps' is not true or false"),
}


@pytest.mark.parametrize("variables, expected", VARIABLES.values(), ids=VARIABLES)
def test_a_mistake_in_a_variable(variables, expected):
    with pytest.raises((SettingsError, OSError)) as told:
        Settings.from_environment({f"ASYNCSTACK_{key}": text for key, text in variables.items()})
    assert expected in str(told.value)
