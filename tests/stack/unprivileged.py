"""Serves an echo on a TUN or TAP that is there already, having given up CAP_NET_ADMIN for good.

A capability outside of the bounding set is lost at the next exec, also for root.
"""

import asyncio
import ctypes
import errno
import json
import os
import sys

PR_CAPBSET_DROP = 24
CAP_NET_ADMIN = 12


def drop() -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(PR_CAPBSET_DROP, CAP_NET_ADMIN, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_CAPBSET_DROP)")
    os.execv(sys.executable, [sys.executable, __file__, sys.argv[1], "dropped"])


def has_net_admin() -> bool:
    with open("/proc/self/status") as status:
        (line,) = (line for line in status if line.startswith("CapEff:"))
    return bool(int(line.split()[1], 16) >> CAP_NET_ADMIN & 1)


async def main(kind: str) -> None:
    import asyncstack

    device = asyncstack.TunDevice if kind == "tun" else asyncstack.TapDevice
    async with asyncstack.Stack() as stack:
        try:
            await stack.add_interface(device("as1"))
            refused = ""
        except OSError as exc:
            refused = errno.errorcode[exc.errno]
        interface = await stack.add_interface(device("as0"), ["10.9.0.2/24"], "10.9.0.1")

        async def echo(reader, writer):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            writer.close()

        await stack.start_server(echo, None, 7000)
        facts = {
            "net_admin": has_net_admin(),
            "new_device": refused,
            "mtu": interface.mtu,
            "up": interface.up,
        }
        print(json.dumps(facts), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        drop()
    asyncio.run(main(sys.argv[1]))
