"""
What becomes of a request that the server did not let in.
"""

from __future__ import annotations

from typing import TypeAlias

import attrs

from mcpbridge.core.errors import Loss


@attrs.frozen
class Retry:
    """Make the request again, with what L{mcpbridge.oauth.authorizer.Authorizer.credentials} gives now."""


@attrs.frozen
class Stop:
    """The request is not to be made again. C{loss} says why, for the client."""

    loss: Loss


Verdict: TypeAlias = Retry | Stop
