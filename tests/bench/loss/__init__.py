"""Goodput on a bad link against Linux on the same one: `python -m tests.bench.loss` (root; Linux), `make bench-loss`.

Two ends, each a process: the kernel's TCP in a network namespace of its own, behind a plain TUN (packets are packets:
no offload), or asyncstack on a packet socket. Between them link.py, a process that couples the two fds through the
project's own impaired link, in real time, by a clock of microseconds. A *cell* is a loss and a round-trip time, a
*pairing* who sends to whom; each run of a cell has a seed, and all pairings lose the same packets by it (the decision
about packet n of a direction depends on the seed and n alone). What counts is what the receiving application got in so
many seconds from the handshake on, as a ratio to kernel to kernel with CUBIC.
"""
