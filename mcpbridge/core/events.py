"""
The neutral vocabulary: what crosses the bridge, in no era's words.

An event belongs to an I{exchange} (one call with all that belongs to it), named by a number that is unique in the
daemon, or to none (C{xid} is L{None}): then it concerns the whole conversation. Modelled on the stateless era,
the more explicit of the two; the peers of the session era do the folding.

"down" is toward the client, "up" is toward the server.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import attrs
from msgspec import Raw

from mcpbridge.core.errors import ErrorObject, Loss

ExchangeId: TypeAlias = int


@attrs.frozen
class Envelope:
    """
    What a server of the stateless era puts round a result. Members as they came.

    @ivar kind: C{resultType}.
    @ivar ttl: C{ttlMs}.
    @ivar scope: C{cacheScope}.
    @ivar server: C{serverInfo} of its C{_meta}.
    """

    kind: Raw
    ttl: Raw | None = None
    scope: Raw | None = None
    server: Raw | None = None


@attrs.frozen
class Native:
    """
    What a client of the stateless era says with a request that a server of the same era can make use of. Such a client
    deals with C{input_required} by itself.

    @ivar level: the log level that it wants for this request.
    """

    level: str | None = None


@attrs.frozen
class Opened:
    """
    Up. A client has said who it is; nothing may come before.

    @ivar version: the revision that it asked for, if we know that one, else the newest of its era.
    @ivar params: the client's C{initialize} params as they came: capabilities, clientInfo, unknown members.
    """

    xid: ExchangeId
    version: str
    params: Mapping[str, Raw]


@attrs.frozen
class Ready:
    """Up. The client has seen the answer to L{Opened} and may be asked things from now on."""


@attrs.frozen
class Introduced:
    """
    Down. What a server says of itself has changed since the client was told.

    @ivar opening: as in the answer of L{Opened}.
    """

    opening: Raw


@attrs.frozen
class Called:
    """
    Up. A request that wants an answer.

    @ivar params: without the envelope that was terminated; C{_meta} keeps what is not the protocol's.
    @ivar wants_progress: whether the client gave a progress token.
    @ivar native: set if the client is of the stateless era.
    """

    xid: ExchangeId
    method: str
    params: Raw | None
    wants_progress: bool = False
    native: Native | None = None


@attrs.frozen
class Notified:
    """Either way. A notification that no rule names; passed through."""

    xid: ExchangeId | None
    method: str
    params: Raw | None


@attrs.frozen
class Cancelled:
    """Up. The client no longer wants the answer of this exchange, and will get none."""

    xid: ExchangeId
    reason: str | None = None


@attrs.frozen
class LevelSet:
    """
    Up. From now on log messages of this level (a syslog name) and above are wanted.

    @ivar standing: the client was told long ago that it has this wish; it does not wait for an answer.
    """

    xid: ExchangeId
    level: str
    standing: bool = False


@attrs.frozen
class Subscribed:
    """
    Up. Updates of this resource are wanted.

    @ivar standing: as in L{LevelSet}.
    """

    xid: ExchangeId
    uri: str
    params: Raw | None
    standing: bool = False


@attrs.frozen
class Unsubscribed:
    """Up. Updates of this resource are not wanted any more."""

    xid: ExchangeId
    uri: str
    params: Raw | None


@attrs.frozen
class TasksWatched:
    """
    Up. The tasks that the client wants to hear of from now on; changes of others are not wanted (any more).

    @ivar task_ids: all of them.
    """

    task_ids: frozenset[str]


@attrs.frozen
class InputSupplied:
    """
    Up. The client's answers to what it was asked.

    @ivar responses: by the key of the question; a result as it came, or an error.
    """

    xid: ExchangeId | None
    responses: Mapping[str, Raw | ErrorObject]


@attrs.frozen
class RootsChanged:
    """Up. C{roots/list} would be answered differently now."""

    params: Raw | None = None


@attrs.frozen
class InputProgressed:
    """Up. The client makes progress on answering the question C{key}."""

    key: str
    params: Mapping[str, Raw]


@attrs.frozen
class InputRequest:
    """One question of a server to a client: C{elicitation/create}, C{sampling/createMessage}, C{roots/list}, ..."""

    method: str
    params: Raw | None
    wants_progress: bool = False


@attrs.frozen
class InputRequired:
    """
    Down. The server asks the client something before it goes on.

    @ivar xid: the exchange that it asks in; L{None} if it cannot be known (a shared channel of the session era).
    @ivar requests: the questions by key; keys are unique per upstream conversation.
    """

    xid: ExchangeId | None
    requests: Mapping[str, InputRequest]


@attrs.frozen
class InputWithdrawn:
    """Down. The server no longer wants an answer to the question C{key}."""

    key: str
    reason: str | None = None


@attrs.frozen
class Progressed:
    """Down. Members of the notification's params but for the token."""

    xid: ExchangeId
    params: Mapping[str, Raw]


@attrs.frozen
class Logged:
    """Down. A log message; C{xid} is the exchange on whose stream it came, if that is known."""

    xid: ExchangeId | None
    params: Raw | None


@attrs.frozen
class Changed:
    """
    Down. A list (C{tools}, C{prompts}, C{resources}) or one resource (C{uri}) is different now.

    @ivar suspected: it may be different: for a while nobody would have told.
    """

    what: str
    uri: str | None = None
    params: Raw | None = None
    suspected: bool = False


@attrs.frozen
class Completed:
    """
    Down. The answer of an exchange.

    @ivar envelope: what was round it, if it comes from a server of the stateless era.
    """

    xid: ExchangeId
    result: Raw
    envelope: Envelope | None = None


@attrs.frozen
class Failed:
    """Down. The exchange ended with an error: the server's own, or one of ours."""

    xid: ExchangeId
    error: ErrorObject


@attrs.frozen
class Lost:
    """
    From our client peer to the bridge. An exchange will get no answer on this connection; the bridge decides whether
    to ask again or to fail it.
    """

    xid: ExchangeId
    loss: Loss


Event: TypeAlias = (
    Opened
    | Ready
    | Introduced
    | Called
    | Notified
    | Cancelled
    | LevelSet
    | Subscribed
    | Unsubscribed
    | TasksWatched
    | InputSupplied
    | InputProgressed
    | RootsChanged
    | InputRequired
    | InputWithdrawn
    | Progressed
    | Logged
    | Changed
    | Completed
    | Failed
    | Lost
)
