"""
Tests of L{mcpbridge.core.oauth.challenge}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.oauth.challenge import (
    MAX_CHALLENGES,
    MAX_PARAMS,
    BearerChallenge,
    Challenge,
    bearer_challenge,
    parse_challenges,
)

_names = st.from_regex(r"\A[a-z][a-z0-9_-]{0,8}\Z")
_values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


def _written(scheme: str, params: dict[str, str]) -> str:
    def quoted(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    return f"{scheme} " + ", ".join(f"{name}={quoted(value)}" for name, value in params.items())


class ParseTests(SynchronousTestCase):
    """What is read of the field."""

    def test_table(self) -> None:
        """Each way of writing it that was met, and what it says."""
        table = {
            'Bearer realm="x"': [Challenge("bearer", {"realm": "x"})],
            "bearer Realm=x": [Challenge("bearer", {"realm": "x"})],
            'BEARER a="1",b="2"': [Challenge("bearer", {"a": "1", "b": "2"})],
            'Bearer a = "1" , b= "2"': [Challenge("bearer", {"a": "1", "b": "2"})],
            'Bearer a="x, y=\\"z\\", w"': [Challenge("bearer", {"a": 'x, y="z", w'})],
            'Basic realm="r", Bearer a="1"': [Challenge("basic", {"realm": "r"}), Challenge("bearer", {"a": "1"})],
            "Negotiate, Bearer a=1": [Challenge("negotiate", {}), Challenge("bearer", {"a": "1"})],
            "Negotiate YII=, Bearer a=1": [Challenge("negotiate", {}), Challenge("bearer", {"a": "1"})],
            "Bearer": [Challenge("bearer", {})],
            "": [],
            " , ,": [],
            'a="1"': [],
            'Bearer a="1", a="2"': [Challenge("bearer", {"a": "1"})],
            'Bearer a="1": b="2", c="3"': [Challenge("bearer", {"a": "1", "c": "3"})],
            'Bearer a="never ends': [Challenge("bearer", {})],
            "Bearer resource_metadata=https://a.example/x?y=z, b=1": [
                Challenge("bearer", {"resource_metadata": "https://a.example/x?y=z", "b": "1"})
            ],
        }

        found = {text: parse_challenges([text]) for text in table}

        self.assertEqual(table, found)

    def test_several_fields(self) -> None:
        """Fields that are repeated are one list."""
        found = parse_challenges(['Basic realm="r"', 'Bearer a="1"'])

        self.assertEqual(["basic", "bearer"], [challenge.scheme for challenge in found])

    def test_bounds(self) -> None:
        """A server cannot make us keep much."""
        many = parse_challenges([", ".join(["x"] * 1000)])
        wide = parse_challenges(["Bearer " + ", ".join(f"p{n}=1" for n in range(1000))])

        self.assertEqual((MAX_CHALLENGES, MAX_PARAMS), (len(many), len(wide[0].params)))

    @settings(max_examples=200, derandomize=True)
    @given(st.dictionaries(_names, _values, max_size=6), st.dictionaries(_names, _values, min_size=1, max_size=3))
    def test_round_trip(self, first: dict[str, str], second: dict[str, str]) -> None:
        """What is written by the rules is read back, two challenges in one field."""
        text = f"{_written('Bearer', first)}, {_written('DPoP', second)}"

        self.assertEqual([Challenge("bearer", first), Challenge("dpop", second)], parse_challenges([text]))

    @settings(max_examples=300, derandomize=True)
    @given(st.lists(st.text(max_size=60), max_size=4))
    def test_anything(self, values: list[str]) -> None:
        """No text whatever makes it fail or stop."""
        for challenge in parse_challenges(values):
            self.assertEqual(challenge.scheme.lower(), challenge.scheme)

    def test_hostile_length(self) -> None:
        """A field made to be read in quadratic time is not."""
        for text in ('Bearer a="' + "\\" * 100_000, '"' * 100_000, "a=" * 100_000, "x" * 100_000, 'x "' * 50_000):
            parse_challenges([text])


class BearerTests(SynchronousTestCase):
    """What matters of it."""

    def test_members(self) -> None:
        """All that is used, under our names."""
        text = (
            'Bearer error="insufficient_scope", scope="a b a", resource_metadata="https://x/y", error_description="No"'
        )

        found = bearer_challenge([text])

        self.assertEqual(BearerChallenge("https://x/y", ("a", "b"), "insufficient_scope", "No"), found)
        self.assertTrue(found is not None and found.insufficient_scope)

    def test_none(self) -> None:
        """Another scheme is none."""
        self.assertEqual([None, None], [bearer_challenge([]), bearer_challenge(['Basic realm="x"'])])

    def test_empty_scope(self) -> None:
        """An empty scope says nothing."""
        self.assertEqual(BearerChallenge(), bearer_challenge(['Bearer scope=""']))

    def test_merged(self) -> None:
        """Two of them complete each other; the first wins."""
        found = bearer_challenge(['Bearer realm="a", scope="x"', 'Bearer resource_metadata="https://r", scope="y"'])

        self.assertEqual(BearerChallenge("https://r", ("x",)), found)
