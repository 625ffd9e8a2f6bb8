"""
Killing a program at every line of it, without one process dying.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def at_every_line(of: tuple[str, ...], run: Callable[[], None], look: Callable[[], object]) -> None:
    """
    Run something, and look at what it has done so far before each line.

    @param of: parts of the paths of the files whose lines count.
    """

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if any(part in frame.f_code.co_filename for part in of):
            look()
            return trace
        return None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
    look()
