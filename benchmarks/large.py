"""A result of 10 MB: how much longer than direct, and how much memory while it passes."""

import contextlib
import time

from benchmarks.channels import call, open_session, receive
from benchmarks.subjects import Bench
from benchmarks.table import Row, Target, median
from tests.integration import processes

_PATHS = {"event stream": "/sse/40/0", "JSON": "/json/40/0"}
_SIZE = 10 * 1024 * 1024


def measure(bench: Bench, *, quick: bool) -> list[Row]:
    """Wall time, CPU and the daemon's peak."""
    rows: list[Row] = []
    for label, path in _PATHS.items():
        with contextlib.ExitStack() as stack:
            walls: dict[str, list[float]] = {}
            cpus: dict[str, list[float]] = {}
            extra: list[float] = []
            channels = {}
            for subject in bench.subjects:
                channels[subject.name] = channel = subject.connect(path)
                stack.callback(channel.close)
                open_session(channel)
                walls[subject.name], cpus[subject.name] = [], []
            for turn in range(3 if quick else 7):
                for subject in bench.subjects:
                    channel = channels[subject.name]
                    before = _reset_peak(bench.daemon.pid) if subject is bench.bridge else 0
                    burnt, start = subject.cpu([channel]), time.perf_counter()
                    channel.post(call(10 + turn, "large", {"size": _SIZE}))
                    answer = receive(channel, 10 + turn)
                    walls[subject.name].append((time.perf_counter() - start) * 1e3)
                    cpus[subject.name].append((subject.cpu([channel]) - burnt) / 1e6)
                    if len(answer) < _SIZE:
                        raise ValueError(f"{subject.name} answered {answer[:200]!r}")
                    if subject is bench.bridge:
                        extra.append((processes.peak(bench.daemon.pid) - before) / _SIZE)
        case = f"10 MB, {label}"
        rows += [Row(case, f"{name} wall", median(values), "ms") for name, values in walls.items()]
        rows += [Row(case, f"{name} CPU", median(values), "ms") for name, values in cpus.items() if any(values)]
        ratio = median(walls["mcpbridge"]) / median(walls["direct"])
        rows.append(Row(case, "wall / direct", ratio, "x", Target("<=", 2)))
        rows.append(Row(case, "daemon peak / message", max(extra), "x", Target("<=", 4), "largest of all rounds"))
    return rows


def _reset_peak(pid: int) -> int:
    """Make the peak the present size (proc(5), clear_refs 5), which is returned."""
    with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as file:
        file.write("5")
    return processes.resident(pid)
