"""
Every revision of a client with every revision of a server, by either side of the bridge and either transport behind it.

C{python -m tests.conformance.matrix} runs it all and writes C{docs/matrix.md}. Nothing there is written by hand.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import Mapping, Sequence

import attrs

from tests.conformance.client import Client
from tests.conformance.features import FEATURES, HANDLES, REFERENCE, TASKS
from tests.conformance.task_features import knowing
from tests.conformance.upstreams import Upstream, bridged
from tests.conformance.wires import HTTPWire, RelayWire, Wire
from tests.integration.daemon import Daemon
from tests.integration.packages import ROOT

VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28")
SIDES = ("relay", "HTTP endpoint")
TRANSPORTS = ("HTTP", "stdio")

DOCUMENT = os.path.join(ROOT, "docs", "matrix.md")

DEADLINE = 170.0
"""Seconds for all cells. What is not done by then has not worked."""

_AT_ONCE = 3
"""Cells at a time: most of their time is waiting."""

_CELL_DEADLINE = 60.0
"""Seconds for one conversation of a cell."""

YES, NO, NONE = "✓", "✗", "·"


@attrs.frozen
class Cell:
    """A client, a server, and what is between them."""

    side: str
    transport: str
    client: str
    server: str

    def upstream(self, within: str) -> Upstream:
        """The server of one of its conversations. Before 2025-03-26 HTTP was HTTP+SSE."""
        http = "sse" if self.server == "2024-11-05" else "http"
        return Upstream(http if self.transport == "HTTP" else "stdio", self.server, within != REFERENCE)

    def applying(self, *conversations: str) -> list[str]:
        """The features that these two revisions have, of these conversations."""
        return [
            name
            for name, feature in FEATURES.items()
            if feature.within in conversations and feature.applies(self.client, self.server)
        ]


CELLS = tuple(
    Cell(side, transport, client, server)
    for transport in TRANSPORTS
    for server in VERSIONS
    for side in SIDES
    for client in VERSIONS
)

CONVERSATIONS = (TASKS, HANDLES, REFERENCE)
"""Of a cell, in the order that they are had: the last row is about what was heard in all of them."""

Results = Mapping[Cell, Mapping[str, str]]
"""What is wrong with a feature, by cell and feature: empty if nothing is. What does not apply is not there."""


def name(upstream: Upstream) -> str:
    """What a server is called in the configuration."""
    return f"{upstream.transport}-{upstream.spoken}{'-tasks' if upstream.has_tasks else ''}"


def measure() -> Results:
    """Try every cell."""
    with contextlib.ExitStack() as stack:
        servers = {
            name(upstream): stack.enter_context(upstream.running())
            for upstream in dict.fromkeys(
                cell.upstream(within) for cell in CELLS for within in CONVERSATIONS if cell.applying(within)
            )
        }
        daemon, base = stack.enter_context(bridged(servers, defaults={"session": "per-client"}))
        return asyncio.run(_measure(daemon, base))


async def _measure(daemon: Daemon, base: str) -> Results:
    found: dict[Cell, dict[str, str]] = {}
    turn = asyncio.Semaphore(_AT_ONCE)

    async def one(cell: Cell) -> None:
        async with turn:
            found[cell] = await _try(cell, daemon, base)

    tasks = {cell: asyncio.create_task(one(cell)) for cell in CELLS}
    await asyncio.wait(tasks.values(), timeout=DEADLINE)
    for cell, task in tasks.items():
        task.cancel()
        found.setdefault(cell, dict.fromkeys(cell.applying(*CONVERSATIONS), "not done in time"))
    await asyncio.gather(*tasks.values(), return_exceptions=True)
    return found


async def _try(cell: Cell, daemon: Daemon, base: str) -> dict[str, str]:
    found: dict[str, str] = {}
    invalid: list[str] = []
    for within in CONVERSATIONS:
        features = cell.applying(within)
        if features:
            client = _client(cell, within, daemon, base)
            client.invalid = invalid
            found.update(await _converse(client, features))
    return found


def _client(cell: Cell, within: str, daemon: Daemon, base: str) -> Client:
    server = name(cell.upstream(within))
    wire: Wire = HTTPWire(f"{base}/{server}")
    if cell.side == "relay":
        wire = RelayWire(daemon.relay(server), daemon.environment, daemon.folder)
    client = Client(wire, cell.client, knowing(cell.client) if within == HANDLES else None)
    client.counterpart = cell.server
    return client


async def _converse(client: Client, features: Sequence[str]) -> dict[str, str]:
    found = dict.fromkeys(features, "not reached")
    try:
        async with asyncio.timeout(_CELL_DEADLINE), client:
            for feature in features:
                found[feature] = await _feature(client, feature)
    except Exception as error:  # noqa: BLE001 - any failure of a cell is what is to be found out
        return {feature: why and f"{why}: {_words(error)}" for feature, why in found.items()}
    return found


async def _feature(client: Client, feature: str) -> str:
    try:
        await FEATURES[feature].run(client)
    except Exception as error:  # noqa: BLE001 - likewise
        return _words(error)
    return ""


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]


# The document


def failures(results: Results, side: str, transport: str, feature: str) -> list[str]:
    """What is wrong with a feature on one of the four ways."""
    return [
        f"client {cell.client}, server {cell.server}: {found[feature]}"
        for cell, found in results.items()
        if (cell.side, cell.transport) == (side, transport) and found.get(feature)
    ]


def document(results: Results) -> str:
    """The text of C{docs/matrix.md}."""
    parts = [_HEAD]
    for side in SIDES:
        for transport in TRANSPORTS:
            of = {cell: found for cell, found in results.items() if (cell.side, cell.transport) == (side, transport)}
            parts.append(f"## Clients by {_BY[side]}, servers by {_BEHIND[transport]}\n\n{_table(of)}")
    return "\n".join(parts)


def _table(results: Results) -> str:
    lines = ["| | " + " | ".join(VERSIONS) + " |", "|---|" + "---|" * len(VERSIONS)]
    for name, feature in FEATURES.items():
        marks = [
            "".join(
                _mark(
                    next(found for cell, found in results.items() if (cell.client, cell.server) == (client, server)),
                    name,
                )
                for server in VERSIONS
            )
            for client in VERSIONS
        ]
        lines.append(f"| {feature.title} | " + " | ".join(marks) + " |")
    return "\n".join(lines) + "\n"


def _mark(found: Mapping[str, str], feature: str) -> str:
    if feature not in found:
        return NONE
    return NO if found[feature] else YES


_BY = {"relay": "relay", "HTTP endpoint": "the HTTP endpoint"}
_BEHIND = {"HTTP": "HTTP", "stdio": "stdio"}

_HEAD = f"""\
# Every revision with every revision

Written by `python -m tests.conformance.matrix`, which tries every cell with a real daemon; the tests fail where this
page and what they see differ. A column is the client's revision. The five marks in it are the server's revisions, the
oldest first: {", ".join(VERSIONS)}.
{YES} works; {NONE} one of the two revisions does not have it; {NO} fails.

The server is the reference server of the [conformance runs](conformance.md), on the official Python SDK, held to one
revision. The client says raw messages, and holds every message that it hears against the official types. HTTP is
HTTP+SSE for servers of 2024-11-05, and Streamable HTTP for all later ones.

Beside it runs a server whose tools are tasks, in the way of its revision: 2025-11-25, or 2026-07-28 with the extension
`io.modelcontextprotocol/tasks`. The first three rows of tasks are of clients that do without, the other three of those
that have tasks in the way of their own revision. A client of 2026-07-28 that does without is refused by a server of
2026-07-28, with `-32021`: that is what the extension wants, and what counts there.
"""


def main() -> int:
    """Run, write, and say what is wrong."""
    results = measure()
    with open(DOCUMENT, "w", encoding="utf-8") as file:
        file.write(document(results))
    bad = 0
    for side in SIDES:
        for transport in TRANSPORTS:
            for feature in FEATURES:
                for failure in failures(results, side, transport, feature):
                    bad += 1
                    sys.stdout.write(f"{side}, {transport}, {feature}: {failure}\n")
    tried = sum(len(found) for found in results.values())
    sys.stdout.write(f"{tried} tried, {bad} failed\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
