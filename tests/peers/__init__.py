"""The tests of CPython's asyncio and of uvloop, run against asyncstack's loops. Nothing of theirs is kept here.

CPython's come with the installed Python; `make peers` fetches uvloop's source package into build/peers. Each file of
tests runs in a child process (`child.py`) whose factories of event loops are replaced by ours, in a network namespace
of its own where a stack and the kernel share 127.0.0.1 (`shared.py`): a port belongs to who has it. So a server that a
test starts on the loop is the stack's, and a blocking socket of a thread is the kernel's, connected over a TUN.

`excluded.toml` names what does not apply, with the reason; all else has to pass, and `counts.txt`, which
`python -m tests.peers` writes, has to be what comes out.
"""
