"""
Tests for L{tests.fakes}: a fake that drifts from its interface fails here.
"""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mcpbridge.interfaces import IClientTransport, IMessageTransport
from tests.fakes import FakeClientTransport, FakeTransport, Server


class FakesTests(SynchronousTestCase):
    """Each fake keeps the promises of its door, as far as signatures tell."""

    def test_fakes(self) -> None:
        """Every fake provides its interface."""
        verifyObject(IMessageTransport, FakeTransport())
        verifyObject(IClientTransport, FakeClientTransport())
        verifyObject(IMessageTransport, Server(Clock()).make())
