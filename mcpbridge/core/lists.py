"""
The lists of a server, as its clients get them.

A client is given the list that is known, at once, unless it has reason to expect news; else it waits until the list
has been fetched, which happens once for all that wait. What was given untrusted is fetched again behind the clients'
backs, and whoever has been given a list is told when it turns out to be different.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final

import attrs
from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.capabilities import announces_changes, declared
from mcpbridge.core.catalog import LISTINGS, Catalog
from mcpbridge.core.effects import BridgeEffect, Save, SessionId, StartTimer, StopTimer
from mcpbridge.core.errors import INVALID_PARAMS, ErrorObject, Fate, Loss, Reason
from mcpbridge.core.events import Called, Changed, Completed, Envelope, Event, ExchangeId, Failed
from mcpbridge.core.exchanges import Exchange, Exchanges
from mcpbridge.core.jsonrpc import InvalidMessage
from mcpbridge.core.retry import failure

_EMPTY = Raw(b"{}")
_NULL = Raw(b"null")

#: A list served from memory is looked up again this much later, in seconds: off the path of a client's start.
_REVALIDATE: Final = 1.0


@attrs.define(eq=False)
class _Reader:
    """
    One client.

    @ivar served: the lists that it has been given.
    @ivar current: the lists that it must not be given from memory untrusted, since it has reason to expect news.
    """

    served: set[str] = attrs.Factory(set)
    current: set[str] = attrs.Factory(set)


@attrs.define(eq=False)
class Lists:
    """
    See the top of this module.

    @ivar catalog: the lists themselves.
    @ivar _name: the server's, for texts.
    @ivar _unannounced: the subjects of which the server does not tell when they change.
    """

    _name: str
    _exchanges: Exchanges
    _exchange_ids: Iterator[ExchangeId]
    _want: Callable[[], None]
    _do: Callable[[BridgeEffect], None]
    _tell: Callable[[SessionId, Event], None]
    catalog: Catalog = attrs.Factory(Catalog)
    _unannounced: Collection[str] = ()
    _readers: dict[SessionId, _Reader] = attrs.Factory(dict)

    # Those who read them.

    def attach(self, session: SessionId) -> None:
        """A client that has been given none yet."""
        self._readers[session] = _Reader()

    def detach(self, session: SessionId) -> None:
        """The client is gone."""
        del self._readers[session]

    def ask(self, session: SessionId, event: Called) -> None:
        """A client wants one."""
        try:
            cursor = jsonrpc.members(event.params or _EMPTY).get("cursor")
        except InvalidMessage as invalid:
            self._tell(session, Failed(event.xid, ErrorObject(invalid.code, str(invalid))))
            return
        if cursor is not None and cursor != _NULL:
            error = ErrorObject(INVALID_PARAMS, "Invalid params: this list is given whole, there is no such cursor")
            self._tell(session, Failed(event.xid, error))
            return
        method = event.method
        known, trusted = self.catalog.known(method), self.catalog.trusted(method)
        reader = self._readers[session]
        reader.served.add(method)
        if known is not None and (trusted or method not in reader.current):
            self._tell(session, Completed(event.xid, known))
            if not trusted:
                self._revalidate_later()
                self._want()
        elif self._exchanges.submit(session, event, method, listing=method):
            self._fetch(method)

    # Those that come.

    def _fetch(self, method: str, cursor: Raw | None = None) -> None:
        if cursor is None and not self.catalog.begin(method):
            return
        params = None if cursor is None else jsonrpc.assemble({"cursor": cursor})
        self._exchanges.submit(None, Called(next(self._exchange_ids), method, params), method, listing=method)

    def fetch_doubtful(self) -> None:
        """Look up again what is not trusted."""
        for method in self.catalog.doubtful():
            self._fetch(method)

    def _revalidate_later(self) -> None:
        self._do(StartTimer("revalidate", _REVALIDATE))

    def rest(self) -> None:
        """Nobody needs to know."""
        self._do(StopTimer("revalidate"))

    def came(self, method: str, page: Raw, envelope: Envelope | None) -> None:
        """The server has answered with one page."""
        known = self.catalog.known(method)
        # What a server says of how long it is good is said of one page.
        is_whole = not self.catalog.has_pages(method)
        try:
            taken = self.catalog.take(method, page)
        except InvalidMessage as invalid:
            loss = Loss(Fate.FAILED, Reason.MALFORMED, f"it sent a broken list: {invalid}")
            self._fail_all(method, failure(self._name, method, loss))
            return
        if isinstance(taken, Raw):
            self._fetch(method, taken)
            return
        told = self._give(method, envelope if is_whole else None)
        if taken:
            self._do(Save())
        if taken and known is not None:
            for session, reader in self._readers.items():
                if method in reader.served and session not in told:
                    self._tell(session, Changed(LISTINGS[method].subject))

    def _give(self, method: str, envelope: Envelope | None) -> set[SessionId]:
        """
        Whoever waits is answered.

        @return: who was.
        """
        merged, trusted = self.catalog.known(method), self.catalog.trusted(method)
        assert merged is not None
        waiting: Mapping[ExchangeId, Exchange] = self._exchanges.waiting_for(method)
        if not trusted:
            waiting = self._fetch_again(method, waiting)
        told = set()
        for xid, exchange in waiting.items():
            self._exchanges.pop(xid)
            assert exchange.session is not None
            told.add(exchange.session)
            if trusted:
                self._readers[exchange.session].current.discard(method)
            self._tell(exchange.session, Completed(xid, merged, envelope))
        return told

    def _fetch_again(self, method: str, waiting: Mapping[ExchangeId, Exchange]) -> Mapping[ExchangeId, Exchange]:
        """
        It changed while it was being fetched. Whoever waits shall have the new one, but does not wait for a third.

        @return: those who are given what there is.
        """
        patient = [exchange for exchange in waiting.values() if not exchange.rounds]
        for exchange in patient:
            exchange.rounds += 1
        if patient:
            self._fetch(method)
        else:
            self._revalidate_later()
        return {xid: exchange for xid, exchange in waiting.items() if exchange not in patient}

    def failed(self, xid: ExchangeId, exchange: Exchange, error: ErrorObject) -> None:
        """An exchange that waits for one, or fetches it, ended so."""
        assert exchange.listing is not None
        if exchange.session is None:
            self._fail_all(exchange.listing, error)
            return
        known = self.catalog.known(exchange.listing)
        if known is not None:
            # Stale is better than nothing; the client is told as soon as the truth is known.
            self._tell(exchange.session, Completed(xid, known))
        else:
            self._tell(exchange.session, Failed(xid, error))

    def _fail_all(self, method: str, error: ErrorObject) -> None:
        self.catalog.abort(method)
        for xid in self._exchanges.waiting_for(method):
            self._exchanges.fail(xid, error)

    # What may have changed them.

    def learn(self, opening: Raw) -> None:
        """The server says of itself what it can do."""
        capabilities = declared(jsonrpc.members(opening))
        subjects = {listing.subject for listing in LISTINGS.values()}
        self._unannounced = sorted(subject for subject in subjects if not announces_changes(capabilities, subject))

    def opened(self) -> None:
        """The server may have changed them while it was away."""
        self.catalog.doubt()
        self.fetch_doubtful()

    def changed(self, event: Changed) -> None:
        """The server says so, and so do we to whoever is there."""
        self.catalog.doubt(event.what)
        stale = {method for method, listing in LISTINGS.items() if listing.subject == event.what}
        for reader in self._readers.values():
            reader.current |= stale
        if not self._readers:
            self._revalidate_later()

    def suspected(self, event: Changed) -> None:
        """They may have: clients are told if it turns out to be so."""
        self.catalog.doubt(event.what)
        self._revalidate_later()

    def acted(self, session: SessionId) -> None:
        """A client did something that may have changed what the server offers, and the server would not tell."""
        for subject in self._unannounced:
            self.catalog.doubt(subject)
        stale = {method for method, listing in LISTINGS.items() if listing.subject in self._unannounced}
        self._readers[session].current |= stale

    def assume_empty(self) -> None:
        """Those that are not known are given as empty ones; the truth is a change."""
        for method, listing in LISTINGS.items():
            if self.catalog.known(method) is None:
                self.catalog.fill({method: jsonrpc.value({listing.member: []})})
