"""The files with the verdicts about both, and why some are not the same."""

from pathlib import Path

FOLDER = Path(__file__).parent
COMMAND = "python -m tests.interop.verdicts"

MANY = "more than 8 extension headers are refused (RFC 8883 3.2 has such limits), so no packet takes long to read"

OVERLAP = (
    "other bytes in the same place are an overlap, which ends the datagram (RFC 8200 4.5); Linux takes a fragment with "
    "the same bounds for a duplicate, without a look at its bytes"
)
LATER = "a later fragment of ICMPv6 may be of an error, and nobody is told of errors about errors (RFC 4443 2.4 (e))"

# question (the start of it) -> why ours is another answer than Linux's, and no worse
REASONS = {
    "nmap": {
        "IPv4 -O SEQ": "timestamps are milliseconds from an offset "
        "for each pair of hosts (RFC 7323 5.4), this Linux has one for each connection",
        "IPv4 -O OPS": "the window scale is that of our largest receive buffer",
        "IPv4 -O WIN": "the first window is all of the field",
        "IPv4 -O ECN": "window and scale as above",
        "IPv4 -O IE": "the code of an echo reply is 0 (RFC 792, RFC 4443 4.2), Linux copies that of the request",
    },
    "implementation6": {
        " 8 ": MANY,
        " 9 ": MANY,
        "10 ": MANY,
    },
    "fragmentation6": {
        " 2 ": OVERLAP,
        " 3 ": OVERLAP,
        "18 ": OVERLAP,
        "10 ": "a second fragment header around a whole packet does no harm, Linux refuses it",
        "11 ": MANY,
        "12 ": MANY,
        **dict.fromkeys(("15 ", "16 ", "22 ", "23 ", "24 ", "31 ", "32 ", "33 "), LATER),
    },
}


def reason(tool: str, question: str) -> str:
    """ "" if there is none."""
    return next((why for start, why in REASONS[tool].items() if question.startswith(start)), "")


def write(tool: str, version: str, linux: dict[str, str], ours: dict[str, str]) -> None:
    """The file of a tool."""
    lines = [f"# {tool} about Linux {version} and about asyncstack, made by: {COMMAND}", ""]
    for question in dict.fromkeys([*linux, *ours]):
        theirs, answer = linux.get(question, "nothing"), ours.get(question, "nothing")
        if theirs == answer:
            lines.append(f"{question} | {theirs}")
        else:
            lines.append(f"{question} | Linux: {theirs} | asyncstack: {answer}")
            lines.append(f"    {reason(tool, question) or 'no reason known'}")
    (FOLDER / f"{tool}.txt").write_text("\n".join(lines) + "\n")


def read(tool: str) -> tuple[dict[str, str], list[str]]:
    """The answers of ours, by question; the questions whose answers differ without a reason."""
    answers, unknown = {}, []
    for line in (FOLDER / f"{tool}.txt").read_text().splitlines():
        if line.startswith("    "):
            if line.strip() == "no reason known":
                unknown.append(list(answers)[-1])
        elif line and not line.startswith("#"):
            question, *said = line.split(" | ")
            answers[question] = said[-1].removeprefix("asyncstack: ")
    return answers, unknown
