"""The process of a command: `dln`, or `python -m dln`.

It imports next to nothing, so that it has hold of Ctrl-C before all else is imported.
"""

import os

TYPE_CHECKING = False  # as `typing` has it, which takes longer to import than all that is here

if TYPE_CHECKING:
    import signal
    from types import FrameType
else:
    import _signal as signal  # of which `signal` makes enumerations, in some milliseconds

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def left(number: int, frame: "FrameType | None") -> None:
    """End the process here and now: what has something to save, or to tidy, has its own handler."""
    os.write(2, b"interrupted\n")
    os._exit(130)


def start() -> None:
    """Run the command that the words of the process name, and exit with its code."""
    for each in SIGNALS:
        if signal.getsignal(each) is not signal.SIG_IGN:  # as a shell leaves it to a job behind it
            signal.signal(each, left)
    from dln.cli import main  # late: imported under the handlers

    try:
        main()
    finally:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)  # the interpreter tidies up; the code is known


if __name__ == "__main__":
    start()
