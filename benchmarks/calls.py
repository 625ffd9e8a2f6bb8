"""One session, one call after another: latency, and what the bridge burns for a call."""

import time

from benchmarks.channels import Channel, call, open_session, receive
from benchmarks.subjects import Bench, Subject
from benchmarks.table import Row, Target, median, percentile

_PATH = "/sse/40/0"
_SIZES = {"1 KB": 1024, "64 KB": 64 * 1024}


def burst(subject: Subject, channel: Channel, size: int, first: int, count: int) -> tuple[list[float], float]:
    """
    Some calls in a row.

    @return: microseconds of each, and microseconds of CPU between client and upstream for one.
    """
    text = "x" * size
    burnt = subject.cpu([channel])
    walls = []
    for request_id in range(first, first + count):
        message = call(request_id, "echo", {"text": text})
        start = time.perf_counter_ns()
        channel.post(message)
        receive(channel, request_id)
        walls.append((time.perf_counter_ns() - start) / 1e3)
    return walls, (subject.cpu([channel]) - burnt) / 1e3 / count


def measure(bench: Bench, *, quick: bool) -> list[Row]:
    """Latency and CPU for each size."""
    rows: list[Row] = []
    channels = {subject.name: subject.connect(_PATH) for subject in bench.subjects}
    try:
        for channel in channels.values():
            open_session(channel)
        first = 10
        for label, size in _SIZES.items():
            count = (100 if quick else 400) // (1 if size < 10_000 else 4)
            walls: dict[str, list[float]] = {name: [] for name in channels}
            cpus: dict[str, list[float]] = {name: [] for name in channels}
            for turn in range(4 if quick else 6):
                for subject in bench.subjects:
                    wall, cpu = burst(subject, channels[subject.name], size, first, count)
                    first += count
                    if turn:  # the first round warms caches, allocators and just-in-time compilers
                        walls[subject.name] += wall
                        cpus[subject.name].append(cpu)
            rows += _rows(f"call, {label}", walls, cpus, bench)
    finally:
        for channel in channels.values():
            channel.close()
    return rows


def _rows(case: str, walls: dict[str, list[float]], cpus: dict[str, list[float]], bench: Bench) -> list[Row]:
    p50 = {name: median(values) for name, values in walls.items()}
    cpu = {name: median(values) for name, values in cpus.items()}
    rows = [
        Row(case, f"{name} wall p50", value, "us", note=f"p99 {percentile(walls[name], 0.99):.0f} us")
        for name, value in p50.items()
    ]
    rows += [Row(case, f"{name} CPU", value, "us") for name, value in cpu.items() if value]
    target = Target("<=", 5) if "1 KB" in case else None
    rows.append(Row(case, "wall / direct", p50["mcpbridge"] / p50["direct"], "x", target))
    if bench.remote is not None:
        target = Target("<=", 0.3) if "1 KB" in case else None
        rows.append(Row(case, "CPU / mcp-remote", cpu["mcpbridge"] / cpu["mcp-remote"], "x", target))
    return rows
