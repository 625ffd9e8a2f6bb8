"""
A server made with the official Python SDK, used by the official Python SDK, directly and through relay and daemon.
"""

import sys
from typing import ClassVar

from tests.integration.parity import Parity, every_feature


class _SDKServer(Parity):
    table = "sdk"
    argument: ClassVar[str]

    def command(self, port: int) -> list[str]:
        return [sys.executable, "-m", "tests.integration.sdk_server", self.argument, str(port)]


@every_feature
class StdioTests(_SDKServer):
    """The SDK's server as a child process."""

    kind = "stdio"
    argument = "stdio"


@every_feature
class SSETests(_SDKServer):
    """The SDK's server over HTTP+SSE of 2024-11-05."""

    kind = "sse"
    argument = "sse"
    path = "/sse"


@every_feature
class StreamableHTTPTests(_SDKServer):
    """The SDK's server over Streamable HTTP, answers as event streams."""

    kind = "http"
    argument = "http"


@every_feature
class StreamableHTTPJSONTests(_SDKServer):
    """The SDK's server over Streamable HTTP, answers as plain JSON."""

    kind = "http"
    argument = "http-json"
