"""A program: what a process of several writes to stderr, without the native log about the others.

    python -P filter_output.py "what to say where one of them is lost"

Native log lines look like "F1124 08:02:07.638297    6341 client.h:80] Terminating process ...", and the text goes on
over several lines. Those about the processes are left out; F, fatal, is the abort, told in one line, once.
"""

import re
import signal
import sys

HEADER = re.compile(r"[IWEF]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ ([\w.]+):\d+\] ")
FILES = ("coordination_service", "preemption_sync_manager", "client.h")


def main() -> None:
    """From stdin to stderr, until the process ends that writes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lost = f"error: {sys.argv[1]}\n"
    silent = told = False
    for line in sys.stdin:
        if match := HEADER.match(line):
            silent = match[1].startswith(FILES)
            if silent and line.startswith("F"):
                line, silent = lost, False
        elif line.startswith(("error:", "warning:", "Traceback")):
            silent = False
        if not silent and not (told and line == lost):
            sys.stderr.write(line)
            sys.stderr.flush()
        silent, told = silent or line == lost, told or line == lost


if __name__ == "__main__":
    main()
