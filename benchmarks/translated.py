"""One call after another between eras: what it costs that client and server do not speak the same."""

import json

from benchmarks.calls import burst
from benchmarks.channels import Channel, call, open_session, receive, request
from benchmarks.subjects import Bench
from benchmarks.table import Row, Target, median

_SIZE = 1024
_PATHS = {"session": "/sse/40/0", "stateless": "/stateless/40/0"}
_META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


class Stateless:
    """A client of the stateless era: what it is said to send in the words of the other."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.pid = channel.pid

    def fileno(self) -> int:
        return self._channel.fileno()

    def post(self, message: bytes) -> None:
        found = json.loads(message)
        found["params"]["_meta"] = _META
        self._channel.post(json.dumps(found).encode())

    def take(self) -> list[bytes]:
        return self._channel.take()

    def close(self) -> None:
        self._channel.close()


def measure(bench: Bench, *, quick: bool) -> list[Row]:
    """Every pair of eras, in turns."""
    pairs = [(client, server) for client in _PATHS for server in _PATHS]
    channels: dict[tuple[str, str], Channel] = {}
    walls: dict[tuple[str, str], list[float]] = {pair: [] for pair in pairs}
    cpus: dict[tuple[str, str], list[float]] = {pair: [] for pair in pairs}
    try:
        for client, server in pairs:
            channels[client, server] = _open(bench, client, server)
        first, count = 10, 100 if quick else 400
        for turn in range(4 if quick else 8):
            for pair in pairs:
                wall, cpu = burst(bench.bridge, channels[pair], _SIZE, first, count)
                first += count
                if turn:  # as in L{benchmarks.calls}
                    walls[pair] += wall
                    cpus[pair].append(cpu)
    finally:
        for channel in channels.values():
            channel.close()
    return _rows(pairs, walls, cpus)


def _open(bench: Bench, client: str, server: str) -> Channel:
    channel = bench.bridge.connect(_PATHS[server])
    if client == "session":
        open_session(channel)
        return channel
    stateless = Stateless(channel)
    stateless.post(request(1, "tools/list", {}))
    receive(stateless, 1)
    stateless.post(call(2, "echo", {"text": "x"}))
    answer = receive(stateless, 2)
    assert b'"result"' in answer, answer
    return stateless


def _rows(
    pairs: list[tuple[str, str]],
    walls: dict[tuple[str, str], list[float]],
    cpus: dict[tuple[str, str], list[float]],
) -> list[Row]:
    rows: list[Row] = []
    for client, server in pairs:
        case, pair = f"1 KB call, {client} client, {server} server", (client, server)
        rows.append(Row(case, "wall p50", median(walls[pair]), "us"))
        rows.append(Row(case, "CPU", median(cpus[pair]), "us"))
        if client != server:
            plain = median(walls[client, client])
            rows.append(Row(case, "wall / untranslated", median(walls[pair]) / plain, "x", Target("<=", 1.3)))
            rows.append(Row(case, "CPU / untranslated", median(cpus[pair]) / median(cpus[client, client]), "x"))
    return rows
