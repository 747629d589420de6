"""`python -m tests.peers`: run the peers' tests, print the table and write it to `counts.txt`.

    python -m tests.peers [--fetch] [--check] [word …]

--fetch gets uvloop's source package first, of the version that is installed. --check compares with `counts.txt` instead
of writing it. Words choose files whose name has one of them ("test_tcp", "uvloop"); then nothing is written.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tests.peers.fetching import fetch
from tests.peers.files import COUNTS, FILES, HEADER, UVLOOP, Result, run


def main(arguments: list[str]) -> int:
    words = [one for one in arguments if not one.startswith("-")]
    if "--fetch" in arguments:
        fetch()
    files = [file for file in FILES if not words or any(word in str(file) for word in words)]
    missing = [file for file in files if file.peer == "uvloop" and not UVLOOP.exists()]
    results = []
    print(HEADER)
    for file in files:
        if file not in missing:
            started = time.monotonic()
            results.append(run(file))
            print(f"{results[-1].row}{time.monotonic() - started:8.1f} s", flush=True)
    bad = [_complaint(result) for result in results if result.failed or result.stale]
    print("\n".join(bad))
    table = "\n".join([HEADER, *(result.row for result in results)]) + "\n"
    if missing:
        print(f"no {UVLOOP}: without uvloop's tests the table is not whole; `make peers` fetches them")
    elif not words:
        if "--check" in arguments and COUNTS.read_text() != table:
            bad.append(f"{COUNTS} says otherwise")
            print(bad[-1])
        elif "--check" not in arguments:
            Path(COUNTS).write_text(table)
    return 1 if bad or missing else 0


def _complaint(result: Result) -> str:
    lines = [f"{result.file}: {name}\n{text}" for name, text in result.failed.items()]
    lines += [f"{result.file}: excluded, and not there: {pattern}" for pattern in result.stale]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
