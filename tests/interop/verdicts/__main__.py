"""`python -m tests.interop.verdicts`: ask Linux and ourselves, in network namespaces, and write the files.

It takes six minutes. Words: which of the tools, if not all.
"""

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from tests.interop.verdicts import extensions, record, scans, target
from tests.netns import NetworkNamespace, enter_user_namespace

TOOLS = {
    "nmap": scans.scan,
    "implementation6": extensions.implementation,
    "fragmentation6": extensions.fragmentation,
}


def ask(make: Callable[[], AbstractAsyncContextManager[target.Target]], tool: str) -> dict[str, str]:
    """What `tool` finds out, on a segment of its own."""

    async def answers() -> dict[str, str]:
        async with make() as one:
            return await TOOLS[tool](one)

    with NetworkNamespace() as namespace, namespace.entered():
        return asyncio.run(answers())


if __name__ == "__main__":
    if os.geteuid() != 0:
        enter_user_namespace()
    for tool in sys.argv[1:] or TOOLS:
        record.write(tool, os.uname().release, ask(target.linux, tool), ask(target.ours, tool))
        print(record.FOLDER / f"{tool}.txt", flush=True)
