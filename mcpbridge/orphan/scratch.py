"""
A file without a name, where the kernel has none to give.
"""

from __future__ import annotations

import os
import time


def scratch_file() -> int:
    """An empty file that is gone when nobody has it open any more."""
    path = f"/tmp/.mcpbridge-{os.getpid()}-{time.monotonic_ns()}"  # noqa: S108  # made exclusively, and unlinked at once
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    os.unlink(path)
    return fd
