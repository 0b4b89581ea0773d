"""A clock that moves only when told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass
class FixedClock:
    """The Clock port, standing still at `moment` (aware)."""

    moment: datetime

    def now(self) -> datetime:
        return self.moment

    def pass_by(self, time: timedelta) -> datetime:
        """Move forward by `time`; the new moment."""
        self.moment += time
        return self.moment
