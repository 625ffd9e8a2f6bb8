"""Two hundred clients that start at once, each with a session of its own."""

import contextlib
import json
import selectors
import time

from benchmarks.channels import INITIALIZE, INITIALIZED, LIST_TOOLS, Channel, call, is_answer
from benchmarks.subjects import Bench
from benchmarks.table import Row, Target, percentile
from tests.integration import processes

_PATH = "/sse/40/0"
_DEADLINE = 120.0
_MIB = 1024 * 1024


def measure(bench: Bench, *, quick: bool) -> list[Row]:
    """All get their own answers; how long, and what each costs."""
    count = 50 if quick else 200
    before = processes.resident(bench.daemon.pid)
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        burnt, start = bench.bridge.cpu([]), time.perf_counter()
        channels: list[Channel] = []
        for index in range(count):
            channel = bench.bridge.connect(_PATH)
            stack.callback(channel.close)
            channels.append(channel)
            selector.register(channel, selectors.EVENT_READ, index)
            channel.post(INITIALIZE + b"\n" + INITIALIZED + b"\n" + LIST_TOOLS)
        listed: set[int] = set()
        own: set[int] = set()
        took: list[float] = []
        while len(own) < count:
            ready = selector.select(_DEADLINE)
            if not ready:
                break
            for key, _ in ready:
                for message in channels[key.data].take():
                    if is_answer(message, 2):
                        listed.add(key.data)
                        took.append(time.perf_counter() - start)
                        channels[key.data].post(call(3, "echo", {"text": f"client {key.data}"}))
                    elif is_answer(message, 3):
                        text = json.loads(message)["result"]["content"][0]["text"]
                        if text == f"client {key.data}":
                            own.add(key.data)
        seconds = time.perf_counter() - start
        cpu = (bench.bridge.cpu(channels) - burnt) / 1e6 / count
        pss = sum(processes.proportional(each.pid) for each in channels if each.pid) / count / _MIB
        grown = (processes.resident(bench.daemon.pid) - before) / count / _MIB
    case = f"{count} relays at once"
    return [
        Row(case, "listed", len(listed), "clients", Target("==", count)),
        Row(case, "own answer", len(own), "clients", Target("==", count)),
        Row(
            case,
            "last tools/list",
            max(took, default=float("nan")) * 1e3,
            "ms",
            note=f"p50 {percentile(took, 0.5) * 1e3:.0f} ms",
        ),
        Row(case, "until all called", seconds * 1e3, "ms"),
        Row(case, "CPU of each", cpu, "ms"),
        Row(case, "relay PSS", pss, "MiB", Target("<=", 4)),
        Row(case, "daemon RSS for each", grown, "MiB"),
    ]
