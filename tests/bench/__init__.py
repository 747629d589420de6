"""The benchmark: every subject side by side in one run, interleaved, medians and the spread.

`python -m tests.bench` (root; Linux). A *subject* (subjects.py) is a server process with its own network
namespace: `kernel` (uvloop on kernel sockets over a veth pair), `asyncstack` (the stack on a TUN) and
`pmd-pytcp` (in a virtual environment of its own). A *case* (cases/) starts a subject's server and a client that
is always on the kernel's sockets, and measures the values of some *rows* (rows.py), which hold the goals.
run.py goes through rounds, cases and subjects; report.py and plot.py show what came out.

Processes talk JSON lines over their pipes (lines.py, workers.py). What the servers run is applications.py, the
same code for `kernel` and `asyncstack`.
"""
