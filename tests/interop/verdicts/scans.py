"""What nmap says of a target."""

import re

from tests.interop.verdicts.target import ADDRESS, ADDRESS6, Target, run
from tests.programs import require_program

PORTS = "T:7,70-90,U:7,9,53,69"
# what is by chance, or of nmap itself
VOLATILE = {"SP", "GCD", "ISR", "II", "SS", "RID", "RIPCK", "RUCK", "RUD", "RIPL", "Q"}


async def scan(target: Target) -> dict[str, str]:
    """Questions and answers, about both families."""
    answers: dict[str, str] = {}
    for family, words in (("IPv4", [ADDRESS]), ("IPv6", ["-6", ADDRESS6])):
        answers |= await _ports(target, family, words)
        answers |= await _system(target, family, words)
    return answers


async def _ports(target: Target, family: str, words: list[str]) -> dict[str, str]:
    """-sS, -sU and the default scripts."""
    nmap = require_program("nmap")
    options = ["-n", "-sS", "-sU", "-sC", "-T4", "--reason", "--host-timeout", "30", "-p"]
    text = await run(target, nmap, *options, PORTS, *words, seconds=40)
    answers = {}
    for line in text.splitlines():
        if found := re.match(r"(\d+/\w+)\s+(\S+)\s+\S+\s+(.*)", line):
            answers[f"{family} port {found[1]}"] = f"{found[2]}, {found[3]}"
        elif found := re.match(r"Not shown: (.*)", line):
            answers[f"{family} other ports"] = found[1]
        elif found := re.match(r"\|_?\s*([\w-]+): (.*)", line):
            answers[f"{family} script {found[1]}"] = found[2]
    return answers


async def _system(target: Target, family: str, words: list[str]) -> dict[str, str]:
    """-O: what is seen of the system, as nmap writes it down. Of IPv6, which of its probes are answered."""
    nmap = require_program("nmap")
    options = ["-n", "-O", "-d", "--max-os-tries", "1", "--host-timeout", "30", "-p", "79-81"]
    text = await run(target, nmap, *options, *words, seconds=40)
    lines = [line[3:] for line in text.splitlines() if line.startswith("OS:")]
    found = re.findall(r"([A-Z]+\d?)\(([^)]*)\)", "".join(lines))
    answers = {}
    for name, body in found:
        if name in ("SCAN", "EXTRA"):
            continue
        if family == "IPv6":
            answers[f"IPv6 -O {name}"] = "answered"
        else:
            pairs = [pair for pair in body.split("%") if pair.partition("=")[0] not in VOLATILE]
            answers[f"IPv4 -O {name}"] = " ".join(pairs)
    return answers
