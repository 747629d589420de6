"""Shell commands of scripts, answered from a table: what a sysctl means for `TcpConfig`.

A command that sets what we have sets it; one that sets what makes no difference here does nothing; any other makes the
script unsupported, with the command as the reason.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable
from pathlib import PurePath
from typing import Any, Final

from asyncstack.config import StackConfig, TcpConfig
from asyncstack.testing.packetdrill.script import UnsupportedError

# what scripts of the public suites start from, by their `defaults.sh`, and so does every script here
_DEFAULTS: Final = {
    "tcp_rmem": "4096 540000 15728640",
    "tcp_wmem": "4096 262144 4194304",
    "tcp_timestamps": "1",
    "tcp_syn_retries": "5",
    "tcp_synack_retries": "5",
    "tcp_sack": "1",
    "tcp_reordering": "3",
    "tcp_congestion_control": "cubic",
    "tcp_slow_start_after_idle": "0",
    "tcp_early_retrans": "4",
    "tcp_recovery": "1",
    "tcp_mtu_probing": "0",
    "tcp_ecn": "0",
    "tcp_fastopen": "0x70403",
    "tcp_fastopen_key": "a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4",
    "tcp_syncookies": "1",
}

# They tune what a kernel's host does; in one process, with one flow and no queue below, they change nothing.
_INDIFFERENT: Final = (
    "tcp_no_metrics_save tcp_min_tso_segs tcp_tso_win_divisor tcp_tso_rtt_log tcp_limit_output_bytes tcp_autocorking "
    "tcp_fack tcp_moderate_rcvbuf tcp_challenge_ack_limit tcp_invalid_ratelimit tcp_early_demux tcp_abort_on_overflow "
    "tcp_pacing_ss_ratio tcp_pacing_ca_ratio tcp_max_syn_backlog somaxconn optmem_max rmem_max wmem_max "
    "tcp_mem tcp_shrink_window tcp_backlog_ack_defer tcp_comp_sack_nr tcp_comp_sack_delay_ns tcp_comp_sack_slack_ns "
    "tcp_fwmark_accept tcp_low_latency tcp_app_win tcp_adv_win_scale tcp_max_tw_buckets tcp_orphan_retries enabled "
    "tcp_fastopen_blackhole_timeout_sec tcp_fastopen_blackhole_detect_timeout_sec default_qdisc bpf_jit_enable "
    "tcp_dsack tcp_ecn_option_beacon tcp_migrate_req tcp_max_reordering ip_local_port_range "
    "tcp_retrans_collapse auto_flowlabels tcp_plb_enabled "
    "ip_forward accept_local rp_filter send_redirects tcp_allowed_congestion_control tcp_tso_allowance "
    "tcp_child_ehash_entries rps_sock_flow_entries log_martians tcp_tw_reuse tcp_pingpong_thresh"
)

# values of sysctls without a setter that say what the stack does anyway
_AS_IT_IS: Final = {
    "tcp_slow_start_after_idle": "0 1",
    "tcp_recovery": "1",
    "tcp_ecn": "0 2",
    "tcp_ecn_option": "0",
    "tcp_ecn_fallback": "1",
    "tcp_syncookies": "1",
    "tcp_min_snd_mss": "48",
    "tcp_notsent_lowat": "4294967295",
    "tcp_workaround_signed_windows": "0",
    "tcp_retries1": "3",
    "tcp_rto_min_us": "200000",
    "tcp_min_rtt_wlen": "300",
    "tcp_thin_linear_timeouts": "0",
    "tcp_reflect_tos": "0",
    "tcp_rfc1337": "0 1",
    "tcp_stdurg": "0",
    "ip_no_pmtu_disc": "0",
    "tcp_syn_linear_timeouts": "0",
}

_SERVER, _WITHOUT_COOKIE, _LISTENERS = 2, 0x200, 0x400  # bits of tcp_fastopen

Setter = Callable[[TcpConfig, str], dict[str, Any]]


def _flag(field: str) -> Setter:
    return lambda config, value: {field: bool(int(value, 0))}


def _integer(field: str) -> Setter:
    return lambda config, value: {field: int(value, 0)}


def _seconds(field: str) -> Setter:
    return lambda config, value: {field: float(value)}


def _text(field: str) -> Setter:
    return lambda config, value: {field: value}


def _largest(field: str) -> Setter:
    return lambda config, value: {field: int(value.split()[-1])}


def _fast_open_key(config: TcpConfig, value: str) -> dict[str, Any]:
    """Words of 32 bits in hexadecimal, each stored as the machine does; after a comma the key before this one."""
    words = re.findall(r"[0-9a-fA-F]{8}", value)
    return {"fast_open_key": b"".join(int(word, 16).to_bytes(4, "little") for word in words)}


def _give_up_after(config: TcpConfig, value: str) -> dict[str, Any]:
    """tcp_retries2: the time that so many retransmissions take, counted from the smallest RTO as Linux does."""
    total, wait = 0.0, config.min_rto
    for _ in range(int(value) + 1):
        total += wait
        wait = min(wait * 2, config.max_rto)
    return {"user_timeout": total}


def _ecn(config: TcpConfig, value: str) -> dict[str, Any]:
    modes = {"0": "off", "1": "on", "2": "passive", "3": "accecn", "4": "accecn-on", "5": "accecn-passive"}
    return {"ecn": modes[value]} if value in modes else {}


def _cookies(config: TcpConfig, value: str) -> dict[str, Any]:
    return {"syn_cookies": ("off", "when full", "always")[int(value)]}


# sysctl -> the fields it sets; those that TcpConfig does not have make it unsupported
_SETTINGS: Final[dict[str, Setter]] = {
    "tcp_rmem": _largest("receive_buffer"),
    "tcp_wmem": _largest("send_buffer"),
    "tcp_timestamps": _flag("timestamps"),
    "tcp_sack": _flag("sack"),
    "tcp_early_retrans": _flag("tail_loss_probe"),
    "tcp_frto": _flag("frto"),
    "tcp_reordering": _integer("reordering"),
    "tcp_window_scaling": _flag("window_scaling"),
    "tcp_syn_retries": _integer("syn_retries"),
    "tcp_synack_retries": _integer("synack_retries"),
    "tcp_retries2": _give_up_after,
    "tcp_congestion_control": _text("congestion"),
    "tcp_keepalive_time": _seconds("keepalive_idle"),
    "tcp_keepalive_intvl": _seconds("keepalive_interval"),
    "tcp_keepalive_probes": _integer("keepalive_count"),
    "tcp_mtu_probing": _flag("mtu_probing"),
    "tcp_base_mss": _integer("base_mss"),
    "tcp_probe_interval": _seconds("mtu_probe_interval"),
    "tcp_fin_timeout": _seconds("fin_wait_2"),
    "tcp_rto_max_ms": lambda config, value: {"max_rto": int(value) / 1000},
    "tcp_ecn": _ecn,
    "tcp_fastopen_key": _fast_open_key,
    "tcp_ecn_option": _integer("accecn_option"),
    "tcp_ecn_fallback": _flag("ecn_fallback"),
    "tcp_syncookies": _cookies,
}


def _arithmetic(expression: re.Match[str]) -> str:
    """`$((15*1024*1024))`: products are what scripts have."""
    factors = expression[1].replace(" ", "").strip("()").split("*")
    if not all(factor.isdigit() for factor in factors):
        raise UnsupportedError(f"shell arithmetic {expression[0]}")
    return str(math.prod(map(int, factors)))


class Settings:
    """The configuration a script asks for, as its commands change it. `config` is what the stack has, and is changed
    in place, so that it holds for the connections made afterwards."""

    def __init__(self) -> None:
        self.config = StackConfig()
        self.fast_open_listeners = False  # listening sockets have TCP_FASTOPEN by themselves
        self.config.tcp.nodelay = False  # sockets have Nagle's algorithm until they are told
        for name, value in _DEFAULTS.items():
            self.set(name, value)

    def run(self, text: str) -> None:
        """Obey the shell commands in `text`. Raises UnsupportedError."""
        text = re.sub(r"\\\n", " ", text)
        text = re.sub(r"\$\(\((.*?)\)\)", _arithmetic, text)
        for command in re.split(r"\n|&&|;", text):
            command = re.sub(r"\d?>&?\s*(/dev/null|\d)|(^|\s)#.*", "", command).strip()
            if command:
                self._obey(command)

    def _obey(self, command: str) -> None:
        if echoed := re.fullmatch(r"echo\s+(.+?)\s*>\s*(\S+)", command):
            self._assign(f"{echoed[2]}={echoed[1]}")
            return
        words = shlex.split(command)
        program = PurePath(words[0]).name
        if program == "defaults.sh":
            for name, value in _DEFAULTS.items():
                self.set(name, value)
        elif program in ("sysctl", "set_sysctls.py"):
            for word in words[1:]:
                if not word.startswith("-"):
                    self._assign(word)
        elif words[:3] in (["ip", "tcp_metrics", "flush"], ["ethtool", "-K", "tun0"]) or program.startswith(
            "sysctl_restore"
        ):
            pass
        elif program not in ("true", "sleep", "echo"):
            raise UnsupportedError(f"the command `{' '.join(words[:2])}`")

    def _assign(self, word: str) -> None:
        name, equals, value = word.partition("=")
        if equals:
            self.set(re.split(r"[./]", name)[-1], value.strip("\"' "))

    def set(self, name: str, value: str) -> None:
        """Set the sysctl `name`, without what stands before it. Raises UnsupportedError for what we do not have."""
        if name in _INDIFFERENT.split():
            return
        config = self.config.tcp
        if name == "tcp_fastopen":
            bits = int(value, 0)
            self.fast_open_listeners = bits & _SERVER > 0 and bits & _LISTENERS > 0
            config.fast_open_without_cookie = bits & _WITHOUT_COOKIE > 0
            return
        fields = _SETTINGS[name](config, value) if name in _SETTINGS else {}
        if fields and fields.keys() <= TcpConfig.__dataclass_fields__.keys():
            for field, setting in fields.items():
                setattr(config, field, setting)
        elif value not in _AS_IT_IS.get(name, "").split():
            raise UnsupportedError(f"sysctl {name}={value}")
