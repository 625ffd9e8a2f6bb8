"""
The daemon holds tokens in memory, and a core dump would write them to a disk or to a crash reporter.
"""

from __future__ import annotations

import resource


def forbid_core_dumps() -> bool:
    """
    Have no core dump of this process, or an empty one where a crash reporter takes it through a pipe and asks for no
    limit. Children inherit both, and may raise the limit again.

    Not by C{PR_SET_DUMPABLE}: that would also hide our environment and descriptors from our own user, who wants to see
    what the daemon does.

    @return: whether that worked in full; the second half needs Linux.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    try:
        # A mask of the kinds of memory to dump, core(5).
        with open("/proc/self/coredump_filter", "w", encoding="ascii") as mask:
            mask.write("0")
    except OSError:
        return False
    return True
