"""ARP: who is where on an Ethernet segment, as one host learns it, and what becomes of an address that nobody has.

python demos/arp.py
"""

import asyncio
from ipaddress import ip_address

import asyncstack
from asyncstack.link.ethernet import EthernetLink
from asyncstack.testing import run


def show(when: str, interface: asyncstack.Interface) -> None:
    print(when)
    assert isinstance(interface.link, EthernetLink)
    for entry in interface.link.neighbors4.entries.values():
        state = entry.state.value if entry.state else "new"
        print(f"  {ip_address(entry.address)} is at {entry.mac.hex(':') or '?'} ({state})")


async def main() -> None:
    async with asyncstack.Network(seed=1) as net:
        alice, bob = net.host("alice", "10.0.0.1/24"), net.host("bob", "10.0.0.2/24")
        net.link(alice, bob, ethernet=True, delay=0.001)
        interface = alice.interfaces[-1]
        show("at first:", interface)
        await alice.ping("bob")
        show("after a ping:", interface)
        asking = asyncio.create_task(alice.ping("10.0.0.9", timeout=10))
        await asyncio.sleep(0.5)
        show("while alice asks for 10.0.0.9:", interface)
        await asyncio.gather(asking, return_exceptions=True)
        print(asking.exception())
        await asyncio.sleep(60)
        await alice.ping("bob")
        show("bob was silent for a minute; now alice will ask whether he is still there:", interface)


if __name__ == "__main__":
    run(main())  # in virtual time: the minute takes none
