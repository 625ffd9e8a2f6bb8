"""
Tests for L{mcpbridge.core.conversion.content}.
"""

from __future__ import annotations

from typing import Any

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core import jsonrpc
from mcpbridge.core.conversion.content import block_for, is_strange
from mcpbridge.core.eras.legacy import VERSIONS

AUDIO = {"type": "audio", "data": "UklGRg==", "mimeType": "audio/wav"}
LINK = {"type": "resource_link", "uri": "file:///a.txt", "name": "a.txt", "description": "The first.", "size": 3}


def converted(version: str, block: Any) -> Any:
    """A block for a receiver of this revision."""
    return jsonrpc.read(block_for(version, jsonrpc.value(block)))


class AudioTests(SynchronousTestCase):
    """Sounds, for whoever knows none."""

    def test_resource(self) -> None:
        """They become a resource that is embedded: its uri is equal for equal sounds."""
        block = converted("2024-11-05", AUDIO | {"annotations": {"audience": ["user"]}, "_meta": {"x": 1}})
        uri = block["resource"].pop("uri")

        self.assertEqual(
            {
                "type": "resource",
                "resource": {"mimeType": "audio/wav", "blob": "UklGRg=="},
                "annotations": {"audience": ["user"]},
                "_meta": {"x": 1},
            },
            block,
        )
        self.assertRegex(uri, "^mcpbridge:audio/[0-9a-f]{64}$")
        self.assertEqual(uri, converted("2024-11-05", AUDIO)["resource"]["uri"])
        self.assertNotEqual(uri, converted("2024-11-05", AUDIO | {"data": "UklGRQ=="})["resource"]["uri"])

    def test_known(self) -> None:
        """From 2025-03-26 on they are understood."""
        block = jsonrpc.value(AUDIO)

        self.assertEqual([True, True, True, False], [block_for(version, block) is block for version in VERSIONS])

    def test_no_sound(self) -> None:
        """What has no data is not audio, whatever it says."""
        for odd in ({"type": "audio"}, {"type": "audio", "data": 1}, {"type": ["audio"]}, "audio", ["audio"], None):
            block = jsonrpc.value(odd)

            self.assertIs(block, block_for("2024-11-05", block))

    def test_without_kind(self) -> None:
        """A sound of no known kind stays one."""
        block = converted("2024-11-05", {"type": "audio", "data": "UklGRg=="})

        self.assertEqual({"uri", "blob"}, set(block["resource"]))


class LinkTests(SynchronousTestCase):
    """Links to resources, for whoever knows none."""

    def test_text(self) -> None:
        """They become what a person would write."""
        table = [
            (LINK, "a.txt <file:///a.txt>\nThe first."),
            ({"type": "resource_link", "uri": "x:y", "name": "n"}, "n <x:y>"),
            ({"type": "resource_link", "uri": "x:y"}, "<x:y>"),
        ]

        for version in ("2024-11-05", "2025-03-26"):
            self.assertEqual(
                [{"type": "text", "text": text} for _, text in table],
                [converted(version, link) for link, _ in table],
            )

    def test_for_whom(self) -> None:
        """What is said of a block of any kind is kept."""
        said = {"annotations": {"priority": 1}, "_meta": {"a.b/c": []}}

        self.assertEqual(
            {"type": "text", "text": "a.txt <file:///a.txt>\nThe first.", **said}, converted("2025-03-26", LINK | said)
        )

    def test_known(self) -> None:
        """From 2025-06-18 on they are understood."""
        block = jsonrpc.value(LINK)

        self.assertEqual([True, True, False, False], [block_for(version, block) is block for version in VERSIONS])

    def test_nowhere(self) -> None:
        """What leads nowhere is left as it is."""
        block = jsonrpc.value({"type": "resource_link", "name": "n"})

        self.assertIs(block, block_for("2024-11-05", block))


class OtherTests(SynchronousTestCase):
    """All the rest."""

    def test_kinds(self) -> None:
        """Other kinds, known or not, are left as they are."""
        for text in (b'{"type": "text","text":"\\"audio\\""}', b'{"type":"image" }', b'{"type":"x-new","y":1e400}'):
            block = Raw(text)

            self.assertIs(block, block_for("2024-11-05", block))

    def test_is_strange(self) -> None:
        """Bytes tell whether it is worth looking; in a string the quotes have backslashes."""
        table = {
            b'{"type":"audio"}': [False, False, False, True],
            b'{"type":"resource_link"}': [False, False, True, True],
            b'{"text":"\\"audio\\" and \\"resource_link\\""}': [False, False, False, False],
        }

        self.assertEqual(table, {text: [is_strange(version, text) for version in VERSIONS] for text in table})
