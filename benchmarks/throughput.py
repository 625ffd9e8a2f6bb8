"""Many sessions at once, each with one call under way all the time."""

import contextlib
import selectors
import time

from benchmarks.channels import Channel, call, is_answer, open_session
from benchmarks.subjects import Bench, Subject
from benchmarks.table import Row, Target, median

_PATH = "/sse/40/0"
_SESSIONS = (1, 8, 64, 256)
_TEXT = "x" * 512
_REMOTE_MOST = 8
"""Sessions of mcp-remote: each is a process of 60 MB."""

_DEADLINE = 120.0


def run(subject: Subject, channels: list[Channel], calls: int, first: int) -> tuple[float, float]:
    """
    Each channel makes its calls one after another, all channels at once.

    @return: calls per second, and microseconds of CPU between clients and upstream for one call.
    @raise TimeoutError: not all were answered.
    """
    left = dict.fromkeys(range(len(channels)), calls)
    waiting: dict[int, int] = {}
    with selectors.DefaultSelector() as selector:
        for index, channel in enumerate(channels):
            selector.register(channel, selectors.EVENT_READ, index)
        burnt, start = subject.cpu(channels), time.perf_counter()

        def post(index: int) -> None:
            waiting[index] = first + left[index]
            channels[index].post(call(waiting[index], "echo", {"text": _TEXT}))

        for index in left:
            post(index)
        open_ones = len(channels)
        while open_ones:
            ready = selector.select(_DEADLINE)
            if not ready:
                raise TimeoutError(f"{open_ones} sessions wait for an answer")
            for key, _ in ready:
                index = key.data
                for message in channels[index].take():
                    if is_answer(message, waiting[index]):
                        left[index] -= 1
                        if left[index]:
                            post(index)
                        else:
                            open_ones -= 1
        seconds = time.perf_counter() - start
        total = calls * len(channels)
        return total / seconds, (subject.cpu(channels) - burnt) / 1e3 / total


def sessions(stack: contextlib.ExitStack, subject: Subject, count: int) -> list[Channel]:
    """Open sessions that the stack closes."""
    channels = []
    for _ in range(count):
        channel = subject.connect(_PATH)
        stack.callback(channel.close)
        channels.append(channel)
    for channel in channels:
        open_session(channel)
    return channels


def measure(bench: Bench, *, quick: bool) -> list[Row]:
    """Throughput and CPU for each number of sessions."""
    rows: list[Row] = []
    cpus: dict[tuple[str, int], float] = {}
    for count in _SESSIONS[:3] if quick else _SESSIONS:
        subjects = [each for each in bench.subjects if each is not bench.remote or count <= _REMOTE_MOST]
        calls = max(8, (600 if quick else 1600) // count)
        with contextlib.ExitStack() as stack:
            channels = {subject.name: sessions(stack, subject, count) for subject in subjects}
            rates: dict[str, list[float]] = {name: [] for name in channels}
            burnt: dict[str, list[float]] = {name: [] for name in channels}
            for turn in range(4):
                for subject in subjects:
                    rate, cpu = run(subject, channels[subject.name], calls, 1000 + turn * 10_000)
                    if turn:
                        rates[subject.name].append(rate)
                        burnt[subject.name].append(cpu)
        for name in rates:
            cpus[name, count] = median(burnt[name])
            rows.append(Row(f"{count} sessions", f"{name} rate", median(rates[name]), "calls/s"))
            if cpus[name, count]:
                rows.append(Row(f"{count} sessions", f"{name} CPU", cpus[name, count], "us/call"))
        if ("mcp-remote", count) in cpus and count == _REMOTE_MOST:
            ratio = cpus["mcpbridge", count] / cpus["mcp-remote", count]
            rows.append(Row(f"{count} sessions", "CPU / mcp-remote", ratio, "x", Target("<=", 0.25)))
        if count == 256:
            ratio = cpus["mcpbridge", 256] / cpus["mcpbridge", 8]
            rows.append(Row("256 sessions", "CPU / with 8", ratio, "x", Target("<=", 1.5)))
    return rows
