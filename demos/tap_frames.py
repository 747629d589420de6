"""Raw Ethernet frames: a device without any layer above it, and the kernel's ARP answered by hand.

sudo .venv/bin/python demos/tap_frames.py        (makes the TAP at0 and pings 10.8.0.2 through it; gone when it ends)

Only ARP is answered, so that the pings get no reply.
"""

import asyncio

import asyncstack
from asyncstack.link.frame import OutgoingFrame
from asyncstack.wire import arp, ethernet
from asyncstack.wire.ethernet import ETHERTYPE_ARP


async def print_frames(device: asyncstack.Device) -> None:
    while True:
        for frame in await device.receive():
            header = ethernet.parse(frame.data)
            print(
                f"{header.src.hex(':')} > {header.dst.hex(':')} type {header.ethertype:#06x}, {len(frame.data)} bytes"
            )
            if header.ethertype == ETHERTYPE_ARP:
                answer(device, arp.parse(header.payload))


def answer(device: asyncstack.Device, asked: arp.Arp) -> None:
    """Say that 10.8.0.2 is ours."""
    if asked.operation == arp.REQUEST and asked.target_ip == bytes([10, 8, 0, 2]):
        reply = arp.Arp(arp.REPLY, device.address, asked.target_ip, asked.sender_mac, asked.sender_ip)
        header = ethernet.build(asked.sender_mac, device.address, ETHERTYPE_ARP)
        device.send(OutgoingFrame([header, arp.build(reply)]))
        print("  answered: 10.8.0.2 is at", device.address.hex(":"))


async def main() -> None:
    device = asyncstack.TapDevice("at0", peer="10.8.0.1/24")
    await device.open(asyncio.get_running_loop())
    device.start(print_frames(device))
    try:
        ping = await asyncio.create_subprocess_exec("ping", "-c", "2", "-W", "1", "10.8.0.2")
        await ping.wait()
    finally:
        device.stop()
        await device.close()


if __name__ == "__main__":
    asyncio.run(main())
