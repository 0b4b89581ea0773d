"""Understanding SQL keeps the interpreter busy: one at a time, so that predictions go on."""

from __future__ import annotations

import threading

THINKING = threading.Lock()
