"""dig, as a program."""

import asyncio
import re

from tests.programs import require_program


class Dig:
    """What dig printed: the status, the flags, the sizes of the sections, and its records as words."""

    def __init__(self, text):
        assert "status: " in text, text
        self.text = text
        self.status = re.search(r"status: (\w+)", text)[1]
        self.flags = set(re.search(r";; flags:([^;]*);", text)[1].split())
        sizes = re.search(r"ANSWER: (\d+), AUTHORITY: (\d+), ADDITIONAL: (\d+)", text)
        self.sizes = tuple(map(int, sizes.groups()))
        lines = [line for line in text.splitlines() if line and not line.startswith(";")]
        self.records = [" ".join(line.split()) for line in lines]
        self.bytes = int(re.search(r"MSG SIZE  rcvd: (\d+)", text)[1])


# what dig says of every server that does not ask others, and of an answer that is a header alone
USUAL = ("recursion requested but not available", "retry with '+noedns'")


async def run_dig(*arguments):
    process = await asyncio.create_subprocess_exec(
        require_program("dig"),
        *("+tries=1", "+time=5", "+nocookie", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(20):
        out, err = await process.communicate()
    text = out.decode() + err.decode()
    complaints = [line for line in text.splitlines() if "WARNING" in line and not line.endswith(USUAL)]
    assert complaints == [], text
    return text
