"""
How much of what was written to a descriptor its reader has not taken yet, as the kernel tells it.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import sys
import termios
from collections.abc import Callable

# What the kernel writes its answer over.
_INT = bytes(4)


def unread_of(fd: int) -> Callable[[], int]:
    """
    How to ask for it.

    Linux counts it for pipes (C{FIONREAD}, pipe(7)) and for Unix sockets (C{SIOCOUTQ}, unix(7); in the kernel's own
    measure, but exactly nothing when nothing is left). Elsewhere the same questions are answered, but for the other
    direction or always with nothing; of a TCP socket only what the other machine has taken is known, and of a terminal
    nothing.

    @param fd: what is written to.
    @return: a function that gives the bytes, 0 if all was read. Always 0 where nobody can say.
    """
    question = _question(fd)
    if question is None:
        return _nobody_knows

    def unread() -> int:
        try:
            return int.from_bytes(fcntl.ioctl(fd, question, _INT), sys.byteorder)
        except OSError:
            # The descriptor is gone; whoever writes to it is told so.
            return 0

    return unread


def _question(fd: int) -> int | None:
    if sys.platform != "linux":
        return None
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISFIFO(mode):
            return termios.FIONREAD
        if stat.S_ISSOCK(mode):
            with socket.socket(fileno=os.dup(fd)) as found:
                # A socket's SIOCOUTQ is the TIOCOUTQ of terminals (linux/sockios.h).
                return termios.TIOCOUTQ if found.family == socket.AF_UNIX else None
    except OSError:
        # It is not open, or too many others are.
        return None
    return None


def _nobody_knows() -> int:
    return 0
