"""Several processes behind one address: a queue of a TUN or TAP for each, which the kernel spreads the flows over.

    kernel ─ interface ─┬─ queue 0 ─ worker 0: its flows, ARP, ICMP, fragments, everything that is no flow
                        ├─ queue 1 ─ worker 1: its flows        │ what came to the wrong queue is
                        └─ queue 2 ─ worker 2: its flows ───────┘ passed on, socket to socket

A worker is a fresh process with an event loop and a stack of its own; all stacks have the same addresses. They share
nothing but the interface and, for what has to be passed on (`steering`), a socket to each other.

The supervisor opens the queues and keeps them open; a worker inherits its own. So only the supervisor needs the right
to open them, and a worker's death does not change their number. That matters: the kernel finds the queue of a flow that
was silent for three seconds by its hash and the number of queues, and gives the last queue the number of one that is
detached. Were the queue of a dead worker detached, silent connections of all the others would go astray and end by RST.
As it is they notice nothing; what is for the dead worker waits in its queue, bounded, until the next one has taken its
place, a second or so. That one answers its predecessor's flows by RST, tells those who only wait (`flows`), and holds
SYNs until it listens.
"""
