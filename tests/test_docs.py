"""
What the documents say about configuration is what there is; their links lead somewhere.
"""

from __future__ import annotations

import json
import os
import re
from glob import glob

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.configuration import load
from mcpbridge.configuration.entries import read_entry
from mcpbridge.configuration.facts import Settings
from mcpbridge.configuration.jsonc import loads
from mcpbridge.configuration.report import Report
from mcpbridge.configuration.table import Table
from mcpbridge.tap import Options

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def text(name: str) -> str:
    """A document of the tree."""
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


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


class LinksTests(SynchronousTestCase):
    """Links within the tree."""

    def test_targets(self) -> None:
        """Each leads to a file that is there, and to a heading in it."""
        for path in [*glob(os.path.join(ROOT, "*.md")), *glob(os.path.join(ROOT, "docs", "*.md"))]:
            name = os.path.relpath(path, ROOT)
            for link in re.findall(r"\]\(([^)\s]+)\)", text(name)):
                if "://" in link:
                    continue
                target, _, heading = link.partition("#")
                there = os.path.normpath(os.path.join(os.path.dirname(path), target)) if target else path
                self.assertTrue(os.path.exists(there), f"{name}: {link}")
                headings = re.findall(r"^#+ (.*)$", text(os.path.relpath(there, ROOT)), re.MULTILINE) if heading else []
                anchors = [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in headings]
                self.assertTrue(not heading or heading in anchors, f"{name}: {link}")
