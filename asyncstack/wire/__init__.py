"""Bytes to records and back: one header per module, no state, no clock, no I/O."""
