"""What happened, by name: `counters["ipv4.bad_checksum"] += 1`."""

from __future__ import annotations

from collections import Counter


class Counters(Counter[str]):
    """Counts of one stack. Names are `layer.reason`; a name never counted reads as 0.

    The set of names is fixed by the code, so the table is bounded whatever arrives.
    """
