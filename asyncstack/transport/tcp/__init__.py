"""TCP: sans-I/O machines, and the shells that put them on the event loop."""
