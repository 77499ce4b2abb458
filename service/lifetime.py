"""Whether this process was told to stop: long answers and jobs end then, so that nothing holds up the goodbye."""

from __future__ import annotations

import threading

STOPPING = threading.Event()
