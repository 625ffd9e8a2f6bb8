"""
Tests for L{mcpbridge.core.catalog}.
"""

from __future__ import annotations

import itertools

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.catalog import LISTINGS, Catalog, Snapshot
from mcpbridge.core.jsonrpc import InvalidMessage


def fetched(*pages: bytes, method: str = "tools/list") -> tuple[list[Raw | bool], Raw | None]:
    """What a catalog says to each of these pages, and what it knows then."""
    catalog = Catalog()
    catalog.begin(method)
    return [catalog.take(method, Raw(page)) for page in pages], catalog.known(method)


class FetchTests(SynchronousTestCase):
    """A list, page by page."""

    def test_one_page(self) -> None:
        """It is kept as the bytes that came."""
        page = b'{ "tools" :[1e400,{"b":1, "a":2}], "_meta":{} }'

        self.assertEqual(([True], Raw(page)), fetched(page))

    def test_pages(self) -> None:
        """Their items are merged into the first, each as it came."""
        taken, known = fetched(
            b'{"x":1,"tools":[{"a": 1}],"nextCursor":"p 2"}',
            b'{"tools":[],"nextCursor":"\\ud800"}',
            b'{"tools":[1e400,"\\udfff"],"x":2}',
        )

        self.assertEqual([Raw(b'"p 2"'), Raw(b'"\\ud800"'), True], taken)
        self.assertEqual(Raw(b'{"x":1,"tools":[{"a": 1},1e400,"\\udfff"]}'), known)

    def test_every_list(self) -> None:
        """Each has a member of its own."""
        for method, listing in LISTINGS.items():
            page = f'{{"{listing.member}":[]}}'.encode()

            self.assertEqual(([True], Raw(page)), fetched(page, method=method))

    def test_null_and_empty_cursors(self) -> None:
        """They end the list: servers write them when there is no more."""
        for cursor in (b"null", b'""', b"7"):
            taken, known = fetched(b'{"tools":[1],"nextCursor":' + cursor + b"}")

            self.assertEqual(([True], Raw(b'{"tools":[1]}')), (taken, known))

    def test_circle(self) -> None:
        """A server that gives the same page for ever is stopped, and what it gave is there once."""
        page = b'{"tools":[1],"nextCursor":"c"}'

        self.assertEqual(([Raw(b'"c"'), True], Raw(b'{"tools":[1]}')), fetched(page, page))

    def test_long_circle(self) -> None:
        """So is one that comes back to an earlier page."""
        one, other = b'{"tools":[1],"nextCursor":"b"}', b'{"tools":[2],"nextCursor":"a"}'

        taken, known = fetched(one, other, one)

        self.assertEqual([Raw(b'"b"'), Raw(b'"a"'), True], taken)
        self.assertEqual(Raw(b'{"tools":[1,2]}'), known)

    def test_pages_without_end(self) -> None:
        """After a hundred it is enough; what came is kept."""
        catalog = Catalog()
        catalog.begin("tools/list")
        for number in itertools.count(1):
            taken = catalog.take("tools/list", Raw(b'{"tools":[%d],"nextCursor":"%d"}' % (number, number)))
            if isinstance(taken, bool):
                break

        known = catalog.known("tools/list")
        assert known is not None
        self.assertEqual((100, True), (number, b",100]" in bytes(known)))

    def test_large_pages(self) -> None:
        """So it is after 8 MiB."""
        catalog = Catalog()
        catalog.begin("tools/list")
        body = b'"' + b"x" * (3 * 1024 * 1024) + b'"'
        taken = [catalog.take("tools/list", Raw(b'{"tools":[%b],"nextCursor":"%d"}' % (body, n))) for n in range(3)]

        self.assertEqual([Raw(b'"0"'), Raw(b'"1"'), True], taken)

    def test_no_page(self) -> None:
        """The fetch has ended; it may be begun again."""
        for page in (b"{}", b'{"tools":{}}', b'{"tools":null}', b"[]", b'{"prompts":[]}'):
            catalog = Catalog()
            catalog.begin("tools/list")

            self.assertRaises(InvalidMessage, catalog.take, "tools/list", Raw(page))
            self.assertEqual((None, True), (catalog.known("tools/list"), catalog.begin("tools/list")))

    def test_huge_page(self) -> None:
        """One that is larger than all may be is not even opened."""
        catalog = Catalog()
        catalog.begin("tools/list")
        page = Raw(b'{"tools":["' + b"x" * (9 * 1024 * 1024) + b'"]}')

        self.assertRaises(InvalidMessage, catalog.take, "tools/list", page)

    def test_begun_once(self) -> None:
        """Two who want it at once cause one fetch."""
        catalog = Catalog()

        self.assertEqual([True, False, True], [catalog.begin(m) for m in ("tools/list", "tools/list", "prompts/list")])

    def test_abort(self) -> None:
        """What was known stays known."""
        catalog = Catalog()
        catalog.fill({"tools/list": Raw(b"old")})
        catalog.begin("tools/list")

        catalog.abort("tools/list")
        catalog.abort("prompts/list")

        self.assertEqual(Raw(b"old"), catalog.known("tools/list"))
        self.assertEqual(["tools/list"], catalog.doubtful())


class TrustTests(SynchronousTestCase):
    """Whether a list may have changed."""

    def test_fetched(self) -> None:
        """It is trusted, and does not differ when it comes again as it was."""
        catalog = Catalog()
        page = Raw(b'{"tools":[]}')
        taken = []
        for _ in range(2):
            catalog.begin("tools/list")
            taken.append(catalog.take("tools/list", page))

        self.assertEqual([True, False], taken)
        self.assertTrue(catalog.trusted("tools/list"))

    def test_remembered(self) -> None:
        """It is not trusted, until it has been fetched."""
        catalog = Catalog()
        catalog.fill({"tools/list": Raw(b'{"tools":[]}')})

        before = (catalog.trusted("tools/list"), catalog.doubtful())
        catalog.begin("tools/list")
        under_way = catalog.doubtful()
        catalog.take("tools/list", Raw(b'{"tools":[]}'))

        self.assertEqual((False, ["tools/list"]), before)
        self.assertEqual([], under_way)
        self.assertEqual((True, []), (catalog.trusted("tools/list"), catalog.doubtful()))

    def test_doubt(self) -> None:
        """By subject, which two lists share, or all."""
        catalog = Catalog()
        for method, listing in LISTINGS.items():
            catalog.begin(method)
            catalog.take(method, Raw(f'{{"{listing.member}":[]}}'.encode()))

        catalog.doubt("resources")
        some = catalog.doubtful()
        catalog.doubt()

        self.assertEqual(["resources/list", "resources/templates/list"], some)
        self.assertEqual(list(LISTINGS), catalog.doubtful())

    def test_doubt_while_it_is_fetched(self) -> None:
        """What comes may be from before."""
        catalog = Catalog()
        catalog.begin("tools/list")
        catalog.doubt("tools")

        catalog.take("tools/list", Raw(b'{"tools":[]}'))

        self.assertFalse(catalog.trusted("tools/list"))


class SnapshotTests(SynchronousTestCase):
    """What is remembered between two conversations."""

    def test_there_and_back(self) -> None:
        """As it was, byte by byte."""
        snapshot = Snapshot(Raw(b'{"a": 1e400}'), {"tools/list": Raw(b'{"tools": []}')})

        self.assertEqual(snapshot, Snapshot.from_bytes(snapshot.to_bytes()))

    def test_lists_of_another_version(self) -> None:
        """Lists that we do not know are left out."""
        data = b'{"opening":{},"lists":{"x/list":{},"prompts/list":{}}}'

        self.assertEqual(Snapshot(Raw(b"{}"), {"prompts/list": Raw(b"{}")}), Snapshot.from_bytes(data))

    def test_no_snapshot(self) -> None:
        """What is none is refused with the named exception."""
        for bad in (
            b"",
            b"x",
            b"[]",
            b"{}",
            b'{"opening":1,"lists":{}}',
            b'{"opening":{},"lists":[]}',
            b'{"opening":{}}',
        ):
            self.assertRaises(ValueError, Snapshot.from_bytes, bad)

    def test_catalog(self) -> None:
        """A catalog hands out what it knows, and takes it."""
        catalog = Catalog()
        catalog.fill({"tools/list": Raw(b"1")})

        self.assertEqual({"tools/list": Raw(b"1")}, catalog.all())
