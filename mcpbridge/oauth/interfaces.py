"""
The doors of this room.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from zope.interface import Interface

from mcpbridge.core.oauth.clients import Client
from mcpbridge.core.oauth.records import Credentials, Key
from mcpbridge.oauth.login import PendingLogin


class ITokenStore(Interface):
    """
    Keeps what must not be lost, and shows it to nobody.

    What a Deferred of C{save...} has fired for is there after a power cut. Every generation number is written once, so
    that of two who refresh the same tokens one finds out that it came second (the store may be shared by several
    daemons).

    Each may fail with L{mcpbridge.oauth.errors.StoreFailure}: the record is there but cannot be read or written. It is
    never overwritten then; C{forget...} removes it.
    """

    def load(upstream: str, principal: str) -> Deferred[Credentials | None]:
        """The credentials for an upstream that were saved last, whoever issued them."""

    def save(key: Key, credentials: Credentials, after: int | None) -> Deferred[bool]:
        """
        Keep these.

        @param after: the generation that they take the place of, 0 if there is none; L{None}: whatever is there.
        @return: whether they were; if not, somebody else has saved others meanwhile.
        """

    def forget(key: Key, generation: int | None) -> Deferred[bool]:
        """
        Remove them.

        @param generation: only if they are still of this one; L{None}: whatever is there.
        @return: whether there was something to remove.
        """

    def load_client(key: Key) -> Deferred[Client | None]:
        """The identity that was registered with this issuer for this upstream and principal."""

    def save_client(key: Key, client: Client) -> Deferred[None]:
        """Keep it."""

    def forget_client(key: Key) -> Deferred[None]:
        """Remove it."""

    def load_login(upstream: str, principal: str) -> Deferred[PendingLogin | None]:
        """The login that is under way."""

    def save_login(upstream: str, principal: str, login: PendingLogin) -> Deferred[None]:
        """Keep it in place of the one before."""

    def forget_login(upstream: str, principal: str) -> Deferred[None]:
        """It is over."""

    def forget_all(upstream: str, principal: str) -> Deferred[None]:
        """Remove whatever there is for this account: credentials, registrations, a login under way."""

    def principals(upstream: str) -> Deferred[Sequence[str]]:
        """The accounts that there are credentials of."""
