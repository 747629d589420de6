"""The asyncio ecosystem on the stack, unmodified: a matrix of libraries and of where they run.

`rows.py` declares what is tested, `columns.py` where; `exchanges/` has for each row a server and a client that asserts
what came of it, written once; `places.py` runs the two in a column; `peers.py` is the process on the kernel's side.
`python -m tests.ecosystem.matrix` prints the matrix that `test_matrix.py` is parametrised with.
"""
