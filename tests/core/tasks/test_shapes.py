"""Tests of L{mcpbridge.core.tasks.shapes}."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core import jsonrpc
from mcpbridge.core.errors import ErrorObject
from mcpbridge.core.tasks import shapes
from mcpbridge.core.tasks.shapes import Dialect
from tests.core.tasks.desks import EXTENSION, SESSION, plain, raw


def members(value: Any) -> dict[str, Any]:
    """The members of an object."""
    return jsonrpc.members(raw(value))


def read(found: dict[str, Any]) -> Any:
    """Members as plain Python."""
    return jsonrpc.read(jsonrpc.assemble(found))


class DialectTests(SynchronousTestCase):
    """Who speaks what."""

    def test_servers(self) -> None:
        """By the revision, and by what they say that may become a task."""
        table: list[tuple[str, Any, Dialect]] = [
            ("2025-11-25", SESSION, Dialect.SESSION),
            ("2025-11-25", {"tasks": {"list": {}}}, Dialect.NONE),
            ("2025-11-25", {"tasks": {"requests": {"tools": {}}}}, Dialect.NONE),
            ("2025-11-25", EXTENSION, Dialect.NONE),
            ("2025-06-18", SESSION, Dialect.NONE),
            ("2026-07-28", EXTENSION, Dialect.EXTENSION),
            ("2026-07-28", SESSION, Dialect.NONE),
            ("2026-07-28", {"extensions": []}, Dialect.NONE),
            ("", {}, Dialect.NONE),
        ]

        found = [
            shapes.dialect_of_server(members({"protocolVersion": version, "capabilities": capabilities}))
            for version, capabilities, _ in table
        ]

        self.assertEqual([dialect for _, _, dialect in table], found)

    def test_clients(self) -> None:
        """A client of sessions need not say it; one of the stateless era must."""
        table: list[tuple[str, Any, Dialect]] = [
            ("2025-06-18", {}, Dialect.NONE),
            ("2025-11-25", {}, Dialect.SESSION),
            ("2026-07-28", {}, Dialect.NONE),
            ("2026-07-28", EXTENSION, Dialect.EXTENSION),
        ]

        found = [shapes.dialect_of_client(version, members({"capabilities": of})) for version, of, _ in table]

        self.assertEqual([dialect for _, _, dialect in table], found)


class OpeningTests(SynchronousTestCase):
    """What is declared."""

    def test_others_stay(self) -> None:
        """What else is there stays as it is."""
        opening = {"a": 1, "capabilities": {"tools": {}, "tasks": {}, "extensions": {"x": {}}}}
        with_both = {"a": 1, "capabilities": {"tools": {}, "extensions": {"x": {}, **EXTENSION["extensions"]}}}

        self.assertEqual(with_both, read(shapes.with_extension(members(opening))))
        self.assertEqual(
            {"a": 1, "capabilities": {"tools": {}, "extensions": {"x": {}}}},
            read(shapes.without_extension(members(with_both))),
        )
        self.assertEqual(
            {"a": 1, "capabilities": {"tools": {}, "extensions": {"x": {}}, **SESSION}},
            read(shapes.with_session_tasks(members(with_both))),
        )


class MemberTests(SynchronousTestCase):
    """What belongs to a task."""

    def test_related(self) -> None:
        """It says so, beside whatever else it says; and may be made not to."""
        before = {"a": 1, "_meta": {"b": 2}}

        said = shapes.related(raw(before), "t")

        meta = {"b": 2, "io.modelcontextprotocol/related-task": {"taskId": "t"}}
        self.assertEqual({"a": 1, "_meta": meta}, plain(said))
        self.assertEqual(("t", None, None), tuple(map(shapes.relation_of, (said, raw(before), None))))
        self.assertEqual(before, plain(shapes.unrelated(said)))
        self.assertEqual({}, plain(shapes.unrelated(shapes.related(None, "t"))))

    def test_calls(self) -> None:
        """A call that asks for a task, and one that does not."""
        call = raw({"name": "x", "task": {"ttl": 1}})

        self.assertEqual({"name": "x"}, plain(shapes.without_task(call)))
        self.assertEqual({"name": "x", "task": {"ttl": 3600000}}, plain(shapes.with_task(raw({"name": "x"}))))
        same = raw({"name": "x", "arguments": {"task": 1}})
        self.assertIs(same, shapes.without_task(same))
        self.assertIs(None, shapes.without_task(None))

    def test_supports(self) -> None:
        """The tools that may or must become tasks; whatever is broken may not."""
        tools: list[Any] = [
            {"name": "a", "execution": {"taskSupport": "required"}},
            {"name": "b", "execution": {"taskSupport": "optional"}},
            {"name": "c", "execution": {"taskSupport": "forbidden"}},
            {"name": "d", "execution": []},
            {"name": 5, "execution": {"taskSupport": "required"}},
            {"name": "e", "description": '"taskSupport"'},
            7,
        ]

        self.assertEqual({"a": "required", "b": "optional"}, shapes.supports(raw({"tools": tools})))
        self.assertEqual({}, shapes.supports(raw({"tools": tools[5:]})))

    def test_created(self) -> None:
        """A task, where there is one."""
        answers: list[Any] = [{"task": {"taskId": "t"}}, {"content": [], "task": 5}, {"content": []}]

        self.assertEqual([{"taskId": "t"}, {}, {}], [read(shapes.created(raw(each))) for each in answers])

    def test_errors(self) -> None:
        """An error crosses with its data."""
        error = ErrorObject(-1, "no", raw({"a": 1}))

        self.assertEqual(error, shapes.read_error(shapes.error_members(error)))
        self.assertEqual({"code": 1, "message": "m"}, plain(shapes.error_members(ErrorObject(1, "m"))))

    def test_large_numbers(self) -> None:
        """What is only renamed keeps its bytes."""
        task = jsonrpc.members(b'{"taskId":"t","ttl":1e400,"pollInterval":12345678901234567890}')

        self.assertEqual(
            (b"1e400", b"12345678901234567890"),
            tuple(bytes(shapes.flat(task)[name]) for name in ("ttlMs", "pollIntervalMs")),
        )
