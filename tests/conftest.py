"""What holds for every test."""

from __future__ import annotations

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # So a shell without job control starts what it runs in the background (`make test &`), and processes inherit it: none
    # of those that the tests start could be interrupted.
    signal.signal(signal.SIGINT, signal.default_int_handler)
