"""
Ground for tests with a daemon, clients and upstreams that live as long as the test.
"""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.daemon import Daemon
from tests.integration.upstream import Upstream
from tests.integration.wire import Message, StdioClient

SOON = 10.0
"""Seconds for what happens behind the scenes: session ends, process deaths."""


class LivingTestCase(SynchronousTestCase):
    """Tests with a daemon and clients that end with the test."""

    def daemon(self, servers: dict[str, Any], **more: Any) -> Daemon:
        """A started daemon; looked over at the end of the test."""
        daemon = Daemon(servers, **more)
        daemon.__enter__()
        self.addCleanup(self._end, daemon)
        return daemon

    def _end(self, daemon: Daemon) -> None:
        daemon.__exit__(None, None, None)

    def upstream(self, **more: Any) -> Upstream:
        """A started upstream."""
        upstream = Upstream(**more)
        upstream.start()
        self.addCleanup(upstream.stop)
        return upstream

    def client(
        self, daemon: Daemon, name: str, *options: str, ready: bool = True, cwd: str | None = None
    ) -> StdioClient:
        """A connected client."""
        client = StdioClient(daemon.relay(name, *options), daemon.environment, cwd=cwd or daemon.folder)
        self.addCleanup(client.close)
        if ready:
            client.initialize()
        return client


def http(upstream: Upstream, **more: Any) -> dict[str, Any]:
    """The configuration of the upstream."""
    return {"type": "http", "url": upstream.url, **more}


def failed(answer: Message) -> str:
    """The text of an error answer."""
    assert "error" in answer, answer
    return str(answer["error"]["message"])
