"""From spawn to answered initialize and tools/list: what a user pays each time a client starts."""

import time
from typing import Any

from benchmarks.channels import open_session
from benchmarks.subjects import Bench, Subject, bare_python
from benchmarks.table import Row, Target, median

_CASES = {
    "40 tools": "/sse/40/0",
    "80 ms away": "/sse/40/80",
    "1000 tools": "/sse/1000/0",
}


def launch(bench: Bench, subject: Subject, path: str) -> tuple[float, float, int]:
    """
    Start one client.

    @return: milliseconds of wall time, milliseconds of CPU, requests that the upstream had.
    """
    requests = bench.upstream.requests(path)
    burnt = subject.cpu([])
    start = time.perf_counter_ns()
    channel = subject.connect(path)
    try:
        open_session(channel)
        wall = time.perf_counter_ns() - start
        cpu = subject.cpu([channel]) - burnt
        asked = bench.upstream.requests(path) - requests
    finally:
        channel.close()
    return wall / 1e6, cpu / 1e6, asked


def measure(bench: Bench, *, quick: bool) -> list[Row]:
    """All start-up figures."""
    rows: list[Row] = []
    rounds = 4 if quick else 12
    forty = 0.0
    for case, path in _CASES.items():
        bench.bridge.warm(path)
        seen: dict[str, list[tuple[float, float, int]]] = {subject.name: [] for subject in bench.subjects}
        bare: list[float] = []
        for _ in range(rounds):
            bare.append(bare_python() / 1e6)
            for subject in bench.subjects:
                if subject is not bench.remote or len(seen[subject.name]) < max(3, rounds // 3):
                    seen[subject.name].append(launch(bench, subject, path))
        rows += _rows(f"start, {case}", seen, median(bare), bench)
        cpu = median([each[1] for each in seen["mcpbridge"]])
        if case == "40 tools":
            forty = cpu
        elif case == "1000 tools":
            rows.append(Row(f"start, {case}", "CPU / with 40", cpu / forty, "x", Target("<=", 1.3)))
    return rows


def _rows(case: str, seen: dict[str, list[Any]], bare: float, bench: Bench) -> list[Row]:
    wall = {name: median([each[0] for each in figures]) for name, figures in seen.items()}
    cpu = {name: median([each[1] for each in figures]) for name, figures in seen.items()}
    rows = [Row(case, f"{name} wall", value, "ms") for name, value in wall.items()]
    rows += [Row(case, f"{name} CPU", value, "ms") for name, value in cpu.items() if value]
    rows.append(Row(case, "python -c pass CPU", bare, "ms"))
    mine = cpu["mcpbridge"]
    rows.append(Row(case, "CPU / python -c pass", mine / bare, "x", Target("<=", 1.8)))
    if bench.remote is not None:
        rows.append(Row(case, "CPU / mcp-remote", mine / cpu["mcp-remote"], "x", Target("<=", 1 / 25)))
    if "80 ms" in case:
        ratio = wall["mcpbridge"] / wall["direct"]
        rows.append(Row(case, "wall / direct", ratio, "x", Target("<=", 0.15)))
        if bench.remote is not None:
            ratio = wall["mcpbridge"] / wall["mcp-remote"]
            rows.append(Row(case, "wall / mcp-remote", ratio, "x", Target("<=", 1 / 40)))
    elif bench.remote is not None and case.endswith("40 tools"):
        ratio = wall["mcpbridge"] / wall["mcp-remote"]
        rows.append(Row(case, "wall / mcp-remote", ratio, "x", Target("<=", 1 / 20)))
    asked = max(each[2] for each in seen["mcpbridge"])
    rows.append(Row(case, "upstream requests", asked, "max", Target("==", 0)))
    return rows
