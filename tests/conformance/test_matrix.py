"""
Every revision of a client with every revision of a server: one test for each feature on each of the four ways.

Each test looks at 25 cells; all are tried at once, by L{tests.conformance.matrix}.
"""

from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from tests.conformance import matrix
from tests.conformance.features import FEATURES


class Matrix(SynchronousTestCase):
    """What was seen, found out once."""

    _seen: ClassVar[list[matrix.Results | BaseException]] = []

    def results(self) -> matrix.Results:
        """What every cell showed."""
        if not self._seen:
            try:
                self._seen.append(matrix.measure())
            except Exception as error:  # noqa: BLE001 - raised again, for every test
                self._seen.append(error)
        [seen] = self._seen
        if isinstance(seen, BaseException):
            raise seen
        return seen

    def check(self, side: str, transport: str, feature: str) -> None:
        """A feature works in all cells of this way that have it."""
        self.assertEqual([], matrix.failures(self.results(), side, transport, feature))


class DocumentTests(Matrix):
    """The page that is published."""

    def test_published(self) -> None:
        """docs/matrix.md shows what was seen: C{python -m tests.conformance.matrix} writes it."""
        with open(matrix.DOCUMENT, encoding="utf-8") as file:
            published = file.read()

        self.assertEqual(matrix.document(self.results()), published)


def every_feature(side: str, transport: str) -> type[Matrix]:
    """A test case of all features."""
    members: dict[str, object] = {
        "__doc__": f"Clients by {side}, servers by {transport}.",
        "__module__": __name__,
    }
    for name, feature in FEATURES.items():

        def test(self: Matrix, name: str = name) -> None:
            self.check(side, transport, name)

        test.__doc__ = f"In every cell: {feature.title}."
        test.__name__ = f"test_{name}"
        members[test.__name__] = test
    return type(f"{side.title().replace(' ', '')}To{transport[0].upper()}{transport[1:]}Tests", (Matrix,), members)


globals().update(
    {
        case.__name__: case
        for case in (every_feature(side, transport) for side in matrix.SIDES for transport in matrix.TRANSPORTS)
    }
)
