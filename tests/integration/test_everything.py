"""
The official reference server, used by the official Python SDK, directly and through the bridge, over all transports.
"""

from typing import ClassVar

from tests.integration.packages import package
from tests.integration.parity import Parity, every_feature


class _Everything(Parity):
    table = "everything"
    argument: ClassVar[str]

    def command(self, port: int) -> list[str]:
        return ["node", package("@modelcontextprotocol/server-everything", "dist", "index.js"), self.argument]


@every_feature
class StdioTests(_Everything):
    """server-everything as a child process."""

    kind = "stdio"
    argument = "stdio"


@every_feature
class SSETests(_Everything):
    """server-everything over HTTP+SSE of 2024-11-05."""

    kind = "sse"
    argument = "sse"
    path = "/sse"


@every_feature
class StreamableHTTPTests(_Everything):
    """server-everything over Streamable HTTP."""

    kind = "http"
    argument = "streamableHttp"
