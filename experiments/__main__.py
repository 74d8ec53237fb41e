"""The start of `python -m experiments`, which Ctrl-C ends at any moment."""

import _thread
import os
import signal
import sys
import threading
from typing import Any


def start() -> None:
    """Runs the command line and exits with its code."""
    # While modules are imported, which takes seconds, an interrupt ends the process as it is: as an exception it would
    # be lost where it falls into a callback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from experiments.command import INTERRUPTED, main

    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.unraisablehook = interrupt_again
    code = main(sys.argv[1:])
    if code == INTERRUPTED:  # an orderly exit crashes where JAX is still compiling
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def interrupt_again(lost: Any) -> None:
    """Where an interrupt falls into a callback of the garbage collector, in which Python drops it, it comes again."""
    if issubclass(lost.exc_type, KeyboardInterrupt):
        threading.Timer(0.01, _thread.interrupt_main).start()
    else:
        sys.__unraisablehook__(lost)


if __name__ == "__main__":
    start()
