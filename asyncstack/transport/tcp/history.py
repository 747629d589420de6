"""The accidents of a sender, for TCP_INFO."""

from __future__ import annotations


class History:
    """Made by the first. Times are seconds; what is below 0 has not begun."""

    __slots__ = ("dsack_dups", "timed_out_at", "timeout_recoveries", "timeout_time", "timeouts")

    def __init__(self) -> None:
        self.timeouts = 0  # of the retransmission timer
        self.timeout_recoveries = 0  # how often that came to an end
        self.timeout_time = 0.0  # from the timeout to there
        self.timed_out_at = -1.0
        self.dsack_dups = 0  # DSACKs received

    def timed_out(self, now: float) -> None:
        """The retransmission timer expired."""
        self.timeouts += 1
        if self.timed_out_at < 0.0:
            self.timed_out_at = now

    def recovered(self, now: float) -> None:
        """What was outstanding at the timeout has arrived."""
        if self.timed_out_at >= 0.0:
            self.timeout_recoveries += 1
            self.timeout_time += now - self.timed_out_at
            self.timed_out_at = -1.0
