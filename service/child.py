"""Inside the process of a job: tied to its server's life, nicer than it, then a plain `curator` command.

Started as `python -P -m service.child SERVER_PID VERB ...`. On Linux the kernel
kills this process when the server dies, and workers of a command leave when
their command does, so a killed server leaves nothing running.
"""

from __future__ import annotations

import os
import signal
import sys

NICE = 5  # below the server and its searches
DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG


def main() -> None:
    """Run one command of `curator`; its exit code is ours."""
    server = int(sys.argv[1])
    _die_with(server)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a server started with & has it ignored, and we inherit
    os.nice(NICE)
    sys.argv[:] = ["curator", *sys.argv[2:]]
    from curator.cli import main as command

    command()


def _die_with(server: int) -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(DIES_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != server:  # it died before the kernel was told
        sys.exit(1)


if __name__ == "__main__":
    main()
