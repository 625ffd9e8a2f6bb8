"""
What Linux tells about processes: who descends from whom, what they cost, and whether they are gone.

Reads C{/proc} only and knows nothing of mcpbridge. Numbers of one process come from one read, so they are consistent.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable

_SCHEDULED = 2  # CPUCLOCK_SCHED of the kernel: what the scheduler measured, not what ticks sampled
_POLL = 0.02
"""Seconds between two looks: short against every deadline used here, long against the cost of a look."""


class TookTooLong(AssertionError):
    """Something that had to happen did not happen before its deadline."""


def _read(path: str) -> str | None:
    """The text of a file below C{/proc}, or L{None} when the process is gone or not ours to look at."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return None


def _stat(pid: int) -> list[str] | None:
    """The fields of C{/proc/PID/stat} after the command's name (proc(5): field 3 is the first of them)."""
    text = _read(f"/proc/{pid}/stat")
    return None if text is None else text.rpartition(")")[2].split()


def pids() -> list[int]:
    """Every process that can be seen."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    fields = _stat(pid)
    return fields is not None and fields[0] not in "ZX"


def descendants(pid: int) -> list[int]:
    """All living descendants of a process, parents before children."""
    children: dict[int, list[int]] = {}
    for each in pids():
        fields = _stat(each)
        if fields is not None and fields[0] not in "ZX":
            children.setdefault(int(fields[1]), []).append(each)
    found: list[int] = []
    open_ends = [pid]
    while open_ends:
        below = children.get(open_ends.pop(), [])
        found += below
        open_ends += below
    return found


def marked(mark: str) -> list[int]:
    """
    The living processes whose environment holds a text, however they came to their parent.

    @param mark: for example C{NAME=value}, unique enough to be nobody else's.
    """
    return [pid for pid in pids() if is_alive(pid) and mark in (_read(f"/proc/{pid}/environ") or "")]


def cpu_nanoseconds(pid: int) -> int:
    """
    Time on a processor of all threads of a process, those that have ended included; 0 when it is gone.

    To the nanosecond: C{/proc} counts in ticks of 10 ms, the process's own CPU clock does not; the clock's number is
    what clock_getcpuclockid(3) makes of the process id. Its children do not count.
    """
    try:
        return time.clock_gettime_ns((~pid << 3) | _SCHEDULED)
    except OSError:
        return 0


def _kilobytes(path: str, label: str) -> int:
    for line in (_read(path) or "").splitlines():
        if line.startswith(label):
            return int(line.split()[1]) * 1024
    return 0


def resident(pid: int) -> int:
    """Bytes of memory in use (VmRSS)."""
    return _kilobytes(f"/proc/{pid}/status", "VmRSS:")


def peak(pid: int) -> int:
    """The most bytes of memory ever in use (VmHWM)."""
    return _kilobytes(f"/proc/{pid}/status", "VmHWM:")


def proportional(pid: int) -> int:
    """Bytes of memory in use, shared pages divided among their users (PSS)."""
    return _kilobytes(f"/proc/{pid}/smaps_rollup", "Pss:")


def descriptors(pid: int) -> int:
    """How many descriptors a process has open; 0 when it is gone."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def kill(each: Iterable[int]) -> None:
    """SIGKILL to each that is still there."""
    for pid in each:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def wait_until(happened: Callable[[], object], seconds: float, what: str) -> None:
    """
    Look again and again until something has happened.

    @param happened: anything true means yes.
    @param what: for the error: what was waited for.
    @raise TookTooLong: it did not happen in time.
    """
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            raise TookTooLong(f"{what}: not within {seconds} s")
        time.sleep(_POLL)
