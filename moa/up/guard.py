"""Runs one command and ends its whole process group when whoever started it is gone.

`python -m moa.up.guard GRACE COMMAND...`: the starter holds the other end of standard input and leaves this
process a group of its own. When that end closes, because the starter wishes it or was killed, the command gets
SIGTERM and, after GRACE seconds, everything in the group SIGKILL.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1


def guard(grace: float, command: Sequence[str]) -> int:
    """Run the command; its exit code, 128 and the signal's number for one that a signal ended."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_end_with_guard)
    left = threading.Event()

    def watch() -> None:
        while os.read(0, 4096):
            pass
        left.set()
        child.terminate()
        try:
            child.wait(grace)
        except subprocess.TimeoutExpired:
            os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    code = child.wait()
    if left.is_set():
        # What the command started and left behind goes too; nobody else would end it.
        os.killpg(0, signal.SIGKILL)
    return code if code >= 0 else 128 - code


def _end_with_guard() -> None:
    """In the command's process: be killed when the guard is (Linux; elsewhere only a killed guard leaves it)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(guard(float(sys.argv[1]), sys.argv[2:]))
