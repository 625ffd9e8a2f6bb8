"""
What the documents say about configuration is what there is; their links lead somewhere.
"""

from __future__ import annotations

import json
import os
import re
from glob import glob

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge import __main__ as main
from mcpbridge.configuration import load
from mcpbridge.configuration.entries import read_entry
from mcpbridge.configuration.facts import Settings
from mcpbridge.configuration.jsonc import loads
from mcpbridge.configuration.report import Report
from mcpbridge.configuration.table import Table
from mcpbridge.core import jsonrpc, pulse
from mcpbridge.core.bindings import http
from mcpbridge.core.bridge import Policy
from mcpbridge.core.eras.modern import calls, parking
from mcpbridge.downstream import outlet
from mcpbridge.downstream.http.limits import EndpointLimits
from mcpbridge.ledger import memory
from mcpbridge.net import guard, head, pool
from mcpbridge.service import upstreams
from mcpbridge.tap import Options
from mcpbridge.upstream import child

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def text(name: str) -> str:
    """A document of the tree."""
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


def documents() -> list[str]:
    """The names of all documents."""
    found = [*glob(os.path.join(ROOT, "*.md")), *glob(os.path.join(ROOT, "docs", "*.md"))]
    return sorted(os.path.relpath(path, ROOT) for path in found)


class ConfigurationTests(SynchronousTestCase):
    """C{docs/configuration.md}."""

    def test_keys(self) -> None:
        """Every key of a server is described, and no other."""
        asked: set[str] = set()
        for members in ({"url": "https://h/"}, {"command": "x"}):
            table = Table(members, (), Report(""), {})
            read_entry("s", table, Settings(), None)
            asked |= table.asked

        section = text("docs/configuration.md").partition("## A server")[2].partition("\n## ")[0]
        rows = [re.findall(r"`(\w+)`", line.split("|")[1]) for line in section.splitlines() if line.startswith("| `")]

        self.assertEqual(sorted(asked), sorted(name for row in rows for name in row))

    def test_defaults(self) -> None:
        """The defaults that are described are those that hold."""
        section = text("docs/configuration.md").partition("How it is used:")[2].partition("\n## ")[0]
        rows = [re.match(r"\| `(\w+)` \| `?([\w-]+)`? \|", line) for line in section.splitlines()]
        described = {row[1]: row[2] if row[2] == "persistent" else json.loads(row[2]) for row in rows if row}

        configuration = load({"HOME": "/nowhere"}, inline=json.dumps({"a": {"command": "x", **described}}))

        self.assertEqual((7, Settings()), (len(described), configuration.upstreams["a"].settings))

    def test_options(self) -> None:
        """Every option of the daemon and its variable are described."""
        document = text("docs/configuration.md")

        for name, *_ in Options.optParameters:
            variable = "MCPBRIDGE_" + str(name).upper().replace("-", "_")
            self.assertIn(f"| `--{name}` | `{variable}` |", document)


class ExamplesTests(SynchronousTestCase):
    """What a reader would copy."""

    def test_configurations(self) -> None:
        """Every configuration that is shown can be used as it stands."""
        environment = {"HOME": "/nowhere", "LINEAR_TOKEN": "x", "GITHUB_TOKEN": "x"}
        found = 0
        for name in ("README.md", "docs/tutorial.md"):
            for block in re.findall(r"```jsonc\n(.*?)```", text(name), re.DOTALL):
                whole = block if block.startswith("{") else "{" + block + "}"
                configuration = load(environment, inline=whole)

                self.assertEqual((), configuration.warnings)
                found += len(configuration.upstreams)
        self.assertEqual(5, found)

    def test_client_configurations(self) -> None:
        """What goes into a client's file is JSON."""
        for block in re.findall(r"```json\n(.*?)```", text("README.md"), re.DOTALL):
            self.assertIn("mcpServers", loads(block))

    def test_commands(self) -> None:
        """Every command that is shown is one, and every command is shown."""
        everything = "".join(map(text, documents()))

        shown = set(re.findall(r"\bpython -m mcpbridge ([a-z]+)", everything))

        (commands,) = (action for action in main._parser()._actions if action.choices and action.metavar == "COMMAND")
        self.assertEqual(set(commands.choices or ()), shown)

    def test_targets(self) -> None:
        """Every target of make that is shown is one."""
        shown = set(re.findall(r"^ {4}make ([a-z]+)", "\n".join(map(text, documents())), re.MULTILINE))

        targets = set(re.findall(r"^([a-z]+):", text("Makefile"), re.MULTILINE))
        self.assertEqual(set(), shown - targets)

    def test_errors(self) -> None:
        """Every error that README explains is one that can come, word by word but for what stands in for a name."""
        section = text("README.md").partition("## When something does not work")[2].partition("\n## ")[0]
        rows = [row for row in re.findall(r"^\| `(.+?)` \|", section, re.MULTILINE) if "module named" not in row]
        sources = "".join(
            text(os.path.relpath(path, ROOT)) for path in glob(f"{ROOT}/mcpbridge/**/*.py", recursive=True)
        )

        told = {
            part
            for row in rows
            for part in re.split(r"\b(?:NAME|X|HOST:PORT|[a-z]+/[a-z]+|status 1|open)\b|\.\.\.|https://|\"", row)
        }

        # Texts are put together from pieces, so each piece is looked for; a piece of a few letters says nothing.
        missing = sorted(part for part in map(str.strip, told) if len(part) > 12 and part not in sources)
        self.assertEqual((True, []), (len(rows) > 8, missing))


class LimitsTests(SynchronousTestCase):
    """The table of C{docs/operations.md}."""

    def test_figures(self) -> None:
        """Those that are round numbers of a constant are that number."""
        table = text("docs/operations.md").partition("## Limits")[2]
        mib, endpoint = 1024 * 1024, EndpointLimits()

        expected = [
            f"| one message of a client | {memory.MAX_LINE // mib} MiB |",
            f"| one message of a server | {Settings().max_message // mib} MiB |",
            f"| requests of one client, open at once | {memory.SLOTS:,} by stdio, {endpoint.requests} by HTTP |",
            f"| messages in one array (2025-03-26) | {jsonrpc.MAX_BATCH} |",
            f"{outlet.MAX_QUEUED // mib} MiB by stdio, {endpoint.queue // mib} MiB for each HTTP stream",
            f"| what waits for a child that does not read | {child.MAX_WAITING // mib} MiB;",
            f"| {pulse.SILENT / 60:.0f} min, {pulse.TAKEN_OVER:.0f} s once another client comes;",
            f"| those that nobody uses | {upstreams.MAX_IDLE}, and {Settings().idle_timeout / 60:.0f} min",
            f"| waiting for a server that cannot be reached | {Policy().unreachable_deadline:.0f} s |",
            f"| connecting to it | {pool.CONNECT:.0f} s |",
            f"| head of an HTTP message | {head.MAX_HEAD // 1024} KiB, {head.MAX_FIELDS} fields |",
            f"| redirects of one request | {http.MAX_REDIRECTS} |",
            f"| `Retry-After` that is obeyed | {http.MAX_RETRY_AFTER:.0f} s;",
            f"| {calls.MAX_PARKED}, {parking.PATIENCE / 60:.0f} min each, {parking.MAX_ROUNDS} rounds |",
            f"| {endpoint.connections:,} connections, {endpoint.sessions} sessions;",
            f"| documents of authorization servers | {guard.MAX_DOCUMENT // 1024} KiB, {guard.DEADLINE:.0f} s |",
        ]

        self.assertEqual([], [row for row in expected if row not in table])


class LinksTests(SynchronousTestCase):
    """Links within the tree."""

    def test_targets(self) -> None:
        """Each leads to a file that is there, and to a heading in it."""
        for name in documents():
            path = os.path.join(ROOT, name)
            for link in re.findall(r"\]\(([^)\s]+)\)", text(name)):
                if "://" in link:
                    continue
                target, _, heading = link.partition("#")
                there = os.path.normpath(os.path.join(os.path.dirname(path), target)) if target else path
                self.assertTrue(os.path.exists(there), f"{name}: {link}")
                headings = re.findall(r"^#+ (.*)$", text(os.path.relpath(there, ROOT)), re.MULTILINE) if heading else []
                anchors = [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in headings]
                self.assertTrue(not heading or heading in anchors, f"{name}: {link}")
