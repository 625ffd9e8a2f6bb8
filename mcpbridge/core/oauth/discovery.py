"""
Finding out who may let us in: a script of fetches, each answer deciding the next.

It is a generator that yields what to fetch and is sent what came; so it runs over any network, and over none in a test.
"""

from __future__ import annotations

from collections.abc import Collection, Generator
from typing import TypeAlias

import attrs

from mcpbridge.core.oauth.challenge import BearerChallenge
from mcpbridge.core.oauth.errors import DiscoveryFailed, MetadataRefused, UntrustedURL
from mcpbridge.core.oauth.metadata import (
    SERVER_SUFFIX,
    ResourceMetadata,
    ServerMetadata,
    assumed_server_metadata,
    canonical_resource,
    read_resource_metadata,
    read_server_metadata,
    resource_metadata_urls,
    server_metadata_urls,
    shown_issuer,
)
from mcpbridge.core.oauth.scopes import Scopes
from mcpbridge.core.oauth.urls import URLPolicy, origin
from mcpbridge.core.printable import printable


@attrs.frozen
class Fetch:
    """GET this URL, with care: a server has named it."""

    url: str


@attrs.frozen
class Fetched:
    """
    What came of it.

    @ivar status: HTTP's; L{None} if there was no answer.
    @ivar text: why not, if there was none.
    @ivar refused: it was not asked at all, since that is not allowed; C{text} says why, and what the user can do.
    """

    status: int | None
    body: bytes = attrs.field(default=b"", repr=False)
    text: str = ""
    refused: bool = False

    @property
    def passing(self) -> bool:
        """Whether another try may do better."""
        return self.status is None or self.status == 429 or self.status >= 500


@attrs.frozen
class Discovery:
    """
    Who lets us in, and to what.

    @ivar resource: what to send as C{resource}.
    @ivar scopes: what the resource says it needs; L{None} if it does not say.
    """

    resource: str
    server: ServerMetadata
    scopes: Scopes | None = None


Script: TypeAlias = Generator[Fetch, Fetched, Discovery]


def discover(
    upstream: str, challenge: BearerChallenge | None = None, known: Collection[str] = (), issuer: str | None = None
) -> Script:
    """
    @param upstream: the configured URL.
    @param known: issuers that we have credentials of; preferred where the resource names several.
    @param issuer: what the user says it is, if the user does.
    @raise DiscoveryFailed: nobody can be found, or none that can be trusted.
    """
    policy = URLPolicy(upstream)
    resource = yield from _resource(policy, challenge)
    if resource is None and issuer is None:
        server = yield from _at_origin(policy)
        return Discovery(canonical_resource(upstream), server)
    if resource is None:
        resource = ResourceMetadata(canonical_resource(upstream), ())
    issuers = _candidates(resource, known, issuer)
    if not issuers:
        server = yield from _at_origin(policy)
    else:
        server = yield from _first_usable(issuers, policy)
    return Discovery(resource.resource, server, resource.scopes)


def _resource(
    policy: URLPolicy, challenge: BearerChallenge | None
) -> Generator[Fetch, Fetched, ResourceMetadata | None]:
    """Protected resource metadata, L{None} if the server has none."""
    challenged = challenge.resource_metadata if challenge is not None else None
    for written in resource_metadata_urls(policy.upstream, challenged):
        try:
            url = policy.document(written)
        except UntrustedURL as error:
            raise DiscoveryFailed(
                f"the server names a place for its metadata that cannot be trusted: this URL {error}"
            ) from None
        fetched = yield from _look(url)
        if fetched.status == 200:
            try:
                return read_resource_metadata(fetched.body, policy)
            except MetadataRefused as error:
                if written != challenged and _is_page(fetched.body):
                    # Front ends that answer every path with their start page.
                    continue
                raise DiscoveryFailed(str(error)) from None
        if fetched.passing:
            raise DiscoveryFailed(_trouble("the protected resource metadata", fetched), temporary=True)
    return None


def _candidates(resource: ResourceMetadata, known: Collection[str], issuer: str | None) -> tuple[str, ...]:
    if issuer is None:
        return tuple(sorted(resource.servers, key=lambda server: server not in known))
    if resource.servers and issuer not in resource.servers:
        raise DiscoveryFailed(
            f"the server now uses the authorization server {shown_issuer(resource.servers[0])}, but the configuration "
            f'says "issuer": {issuer}; credentials made for one are not shown to another. Register anew and change it'
        )
    return (issuer,)


def _first_usable(issuers: tuple[str, ...], policy: URLPolicy) -> Generator[Fetch, Fetched, ServerMetadata]:
    failure: DiscoveryFailed | None = None
    for issuer in issuers:
        try:
            return (yield from _server(issuer, policy))
        except DiscoveryFailed as error:
            failure = failure or error
    assert failure is not None
    raise failure


def _server(issuer: str, policy: URLPolicy) -> Generator[Fetch, Fetched, ServerMetadata]:
    trouble: Fetched | None = None
    for written in server_metadata_urls(issuer):
        try:
            url = policy.endpoint(written)
        except UntrustedURL as error:
            raise DiscoveryFailed(
                f"the authorization server {shown_issuer(issuer)} cannot be trusted: this URL {error}"
            ) from None
        fetched = yield from _look(url)
        if fetched.status == 200 and not _is_page(fetched.body):
            try:
                return read_server_metadata(fetched.body, issuer, policy)
            except MetadataRefused as error:
                # What is wrong here is not to be papered over by what another URL says.
                raise DiscoveryFailed(str(error)) from None
        if fetched.passing and trouble is None:
            trouble = fetched
    if trouble is not None:
        raise DiscoveryFailed(
            _trouble(f"the metadata of the authorization server {shown_issuer(issuer)}", trouble), temporary=True
        )
    raise DiscoveryFailed(f"the authorization server {shown_issuer(issuer)} publishes no metadata")


def _at_origin(policy: URLPolicy) -> Generator[Fetch, Fetched, ServerMetadata]:
    """MCP 2025-03-26: the authorization server is at the origin of the resource, with metadata or without."""
    base = origin(policy.upstream)
    try:
        url = policy.endpoint(f"{base}/.well-known/{SERVER_SUFFIX}")
    except UntrustedURL as error:
        raise DiscoveryFailed(
            f"the server wants authorization but publishes no metadata, and is not asked further: its URL {error}"
        ) from None
    fetched = yield from _look(url)
    if fetched.passing:
        raise DiscoveryFailed(_trouble("the authorization server metadata", fetched), temporary=True)
    if fetched.status == 200 and not _is_page(fetched.body):
        try:
            return read_server_metadata(fetched.body, base, policy, legacy=True)
        except MetadataRefused as error:
            raise DiscoveryFailed(str(error)) from None
    return assumed_server_metadata(policy.upstream)


def _look(url: str) -> Generator[Fetch, Fetched, Fetched]:
    fetched = yield Fetch(url)
    if fetched.refused:
        raise DiscoveryFailed(fetched.text)
    return fetched


def _is_page(body: bytes) -> bool:
    return body.lstrip()[:1] == b"<"


def _trouble(what: str, fetched: Fetched) -> str:
    if fetched.status is None:
        return f"{what} cannot be fetched: {printable(fetched.text)}"
    return f"{what} cannot be fetched: HTTP {fetched.status}"
