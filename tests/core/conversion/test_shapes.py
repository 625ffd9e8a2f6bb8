"""
Tests for L{mcpbridge.core.conversion.shapes}.
"""

from __future__ import annotations

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.conversion.shapes import LARGE, appended, is_array, is_object, listed, mapped, opened, replaced

ANYTHING = [Raw(text) for text in (b"{}", b"[]", b'"{"', b"1", b"null", b"true", b'{"a":1}', b"[1]")]


def shout(value: Raw) -> Raw:
    """Something to do with one value of several."""
    return Raw(b'"!"') if value == Raw(b"1") else value


class ShapeTests(SynchronousTestCase):
    """JSON of which it is not known what it is."""

    def test_opened(self) -> None:
        """What has no members has none."""
        self.assertEqual([{}, {}, {}, {}, {}, {}, {"a": Raw(b"1")}, {}], [opened(one) for one in ANYTHING])
        self.assertEqual({}, opened(None))

    def test_listed(self) -> None:
        """What has no elements has none."""
        self.assertEqual([[], [], [], [], [], [], [], [Raw(b"1")]], [listed(one) for one in ANYTHING])
        self.assertEqual([], listed(None))

    def test_kinds(self) -> None:
        """The first byte tells."""
        self.assertEqual([0, 6], [at for at, one in enumerate(ANYTHING) if is_object(one)])
        self.assertEqual([1, 7], [at for at, one in enumerate(ANYTHING) if is_array(one)])

    def test_too_deep(self) -> None:
        """What cannot be read is left as it is."""
        deep = Raw(b'{"a":' * 100_000 + b"1" + b"}" * 100_000)
        deep_array = Raw(b"[" * 100_000 + b"]" * 100_000)

        self.assertEqual(({}, True), (opened(deep), replaced(deep, "a", shout) is deep))
        self.assertEqual(([], True), (listed(deep_array), mapped(deep_array, shout) is deep_array))

    def test_mapped(self) -> None:
        """Elements that are not touched keep their bytes; if none is, so does the array."""
        touched, untouched = Raw(b'[ 1, {"a" : 1e400} ]'), Raw(b"[ 2, 3 ]")

        self.assertEqual(Raw(b'["!",{"a" : 1e400}]'), mapped(touched, shout))
        self.assertIs(untouched, mapped(untouched, shout))

    def test_replaced(self) -> None:
        """Members that are not touched keep their bytes and their place; if none is, so does the object."""
        touched, untouched = Raw(b'{"b": [ ],"a": 1,"c":{ }}'), Raw(b'{ "a": 2, "b": 1 }')

        self.assertEqual(Raw(b'{"b":[ ],"a":"!","c":{ }}'), replaced(touched, "a", shout))
        self.assertIs(untouched, replaced(untouched, "a", shout))
        self.assertIs(touched, replaced(touched, "d", shout))

    def test_appended(self) -> None:
        """The elements that are there are not even looked at."""
        table = {b"[]": b"[2]", b"[ ]": b"[ 2]", b"[1]": b"[1,2]", b"[ 1, [] ]": b"[ 1, [] ,2]"}

        self.assertEqual(table, {text: bytes(appended(Raw(text), Raw(b"2"))) for text in table})


class LargeTests(SynchronousTestCase):
    """What a stranger may send to cost us memory."""

    def test_members(self) -> None:
        """A large object is opened if it has few members, however large they are."""
        few = Raw(b'{"a":[' + b"0," * LARGE + b'0],"b":{"c":0}}')
        many = Raw(b"{" + b",".join(b'"%d":0' % number for number in range(200_000)) + b"}")

        self.assertEqual(["a", "b"], list(opened(few)))
        self.assertEqual({}, opened(many))

    def test_elements(self) -> None:
        """A large array is opened if it has few elements; it is taken for many if there are many in these."""
        few = Raw(b'["' + b"x" * LARGE + b'",1]')
        many = Raw(b"[" + b"0," * LARGE + b"0]")

        self.assertEqual(2, len(listed(few)))
        self.assertEqual([], listed(many))

    def test_small(self) -> None:
        """Nothing else is counted."""
        self.assertEqual(
            20_000, len(opened(Raw(b"{" + b",".join(b'"%d":0' % number for number in range(20_000)) + b"}")))
        )

    def test_broken(self) -> None:
        """Large and not to be read quickly is as good as closed."""
        self.assertEqual({}, opened(Raw(b'{"a":"\\ud800' + b"x" * LARGE + b'"}')))
