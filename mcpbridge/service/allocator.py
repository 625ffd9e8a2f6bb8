"""
That memory which large messages took is given back when they are gone.
"""

from __future__ import annotations

import ctypes
import sys

#: C{M_MMAP_THRESHOLD} of glibc's malloc.h.
_M_MMAP_THRESHOLD = -3

#: Bytes from which on a block is mapped by itself, and unmapped when it is freed. glibc begins with 128 KiB but learns
#: from what is freed, up to 32 MiB: after a few answers of 10 MB it would keep their room for good.
THRESHOLD = 4 * 1024 * 1024


def return_large_blocks() -> bool:
    """
    Do so from now on.

    @return: whether this C library can be told to.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_M_MMAP_THRESHOLD, THRESHOLD))
