"""Progress on its way: from the moment the upstream writes a notification to the moment the client has it."""

import json
import select
import time

from benchmarks.channels import Channel, call, is_answer, open_session
from benchmarks.subjects import Bench, Subject
from benchmarks.table import Row, Target, median, percentile

_PATH = "/sse/40/0"
_DEADLINE = 60.0


def stream(channel: Channel, request_id: int, count: int, pause: float) -> tuple[list[float], list[int], float, int]:
    """
    One call that reports progress.

    @return: microseconds that each notification took, the steps in their order, seconds in all, and how many came too
        late, after the answer.
    """
    latencies: list[float] = []
    steps: list[int] = []
    late = 0
    done = False
    start = time.perf_counter()
    channel.post(call(request_id, "progress", {"count": count, "pause": pause}, token=request_id))
    while not done:
        if not select.select([channel], [], [], _DEADLINE)[0]:
            break
        arrived = time.monotonic_ns()
        for message in channel.take():
            if is_answer(message, request_id):
                done = True
                continue
            params = json.loads(message).get("params") or {}
            if "progress" in params:
                late += done
                steps.append(int(params["progress"]))
                latencies.append((arrived - int(params["message"])) / 1e3)
    return latencies, steps, time.perf_counter() - start, late


def measure(bench: Bench, *, quick: bool) -> list[Row]:
    """Latency one by one, and whether a flood comes through whole and in order."""
    count = 5_000 if quick else 20_000
    rows: list[Row] = []
    paced: dict[str, float] = {}
    channels: dict[str, tuple[Subject, Channel]] = {}
    try:
        for subject in bench.subjects:
            channels[subject.name] = (subject, subject.connect(_PATH))
            open_session(channels[subject.name][1])
        gathered: dict[str, list[float]] = {name: [] for name in channels}
        for turn in range(3):
            for name, (_, channel) in channels.items():
                latencies, *_ = stream(channel, 10 + turn, 25, 0.02)
                gathered[name] += latencies
        for name, latencies in gathered.items():
            paced[name] = median(latencies)
            note = f"{len(latencies)} of 75 seen, p90 {percentile(latencies, 0.9):.0f} us"
            rows.append(Row("progress, one by one", f"{name} latency", paced[name], "us", note=note))
        ratio = paced["mcpbridge"] / paced["direct"]
        rows.append(Row("progress, one by one", "latency / direct", ratio, "x", Target("<=", 3)))
        for name, (subject, channel) in channels.items():
            burnt = subject.cpu([channel])
            _, steps, seconds, late = stream(channel, 100, count, 0)
            case = f"progress, flood of {count}"
            target = Target("==", count) if name == "mcpbridge" else None
            rows.append(Row(case, f"{name} seen", len(steps), "notes", target))
            in_order = float(steps == sorted(steps)) if steps else 0.0
            rows.append(Row(case, f"{name} in order", in_order, "bool", Target("==", 1) if target else None))
            rows.append(
                Row(
                    case,
                    f"{name} after the answer",
                    late,
                    "notes",
                    Target("==", 0) if target else None,
                )
            )
            rows.append(Row(case, f"{name} wall", seconds * 1e3, "ms"))
            if burnt:
                rows.append(Row(case, f"{name} CPU", (subject.cpu([channel]) - burnt) / 1e3 / count, "us/note"))
    finally:
        for _, channel in channels.values():
            channel.close()
    return rows
