"""What a sender has been through, for TCP_INFO: how long it was busy and why it stood still, and its accidents."""

from __future__ import annotations


class History:
    """Times are seconds; what is below 0 has not begun."""

    __slots__ = (
        "busy",
        "busy_since",
        "dsack_dups",
        "timed_out_at",
        "timeout_recoveries",
        "timeout_time",
        "timeouts",
        "window_limited",
        "window_limited_since",
    )

    def __init__(self) -> None:
        self.busy = 0.0  # something was sent and not acknowledged, or waited to be sent
        self.busy_since = -1.0
        self.window_limited = 0.0  # ... and it was the peer's window that did not let it go
        self.window_limited_since = -1.0
        self.timeouts = 0  # of the retransmission timer
        self.timeout_recoveries = 0  # how often that came to an end
        self.timeout_time = 0.0  # from the timeout to there
        self.timed_out_at = -1.0
        self.dsack_dups = 0  # DSACKs received

    def limited(self, by_window: bool, now: float) -> None:
        """Whether the peer's window is what keeps the sender from sending, from now on."""
        if by_window:
            if self.window_limited_since < 0.0:
                self.window_limited_since = now
        elif self.window_limited_since >= 0.0:
            self.window_limited += now - self.window_limited_since
            self.window_limited_since = -1.0

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

    def busy_time(self, now: float) -> float:
        """`busy` up to now."""
        return self.busy + (now - self.busy_since if self.busy_since >= 0.0 else 0.0)

    def limited_time(self, now: float) -> float:
        """`window_limited` up to now."""
        since = self.window_limited_since
        return self.window_limited + (now - since if since >= 0.0 else 0.0)
