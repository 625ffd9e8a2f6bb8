"""
What a server says of its authorization: where that is found, in which order, and whether it may be believed.

Protected resource metadata: RFC 9728. Authorization server metadata: RFC 8414 and OpenID Connect Discovery 1.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import attrs

from mcpbridge.core.oauth.documents import json_object, list_member
from mcpbridge.core.oauth.errors import MetadataRefused, UntrustedURL
from mcpbridge.core.oauth.scopes import Scopes, valid_scopes
from mcpbridge.core.oauth.urls import URLPolicy, origin, same_origin
from mcpbridge.core.printable import printable

#: Authorization servers of one resource that are looked at; real ones name one.
MAX_SERVERS = 8

#: Characters of foreign text in one of ours.
_EXCERPT = 200

RESOURCE_SUFFIX = "oauth-protected-resource"
SERVER_SUFFIX = "oauth-authorization-server"
OPENID_SUFFIX = "openid-configuration"


@attrs.frozen
class ResourceMetadata:
    """
    What the protected resource says (RFC 9728, 2).

    @ivar resource: what to send as C{resource}, exactly as published.
    @ivar servers: issuers of authorization servers, as written.
    @ivar scopes: L{None} if it does not say.
    """

    resource: str
    servers: tuple[str, ...]
    scopes: Scopes | None = None


@attrs.frozen
class ServerMetadata:
    """
    What the authorization server says (RFC 8414, 2). Every URL has passed the policy.

    @ivar issuer: as written; compared byte for byte, never changed.
    @ivar legacy: nobody named this server: it was found at the origin of the resource (MCP 2025-03-26).
    """

    issuer: str
    authorization_endpoint: str | None
    token_endpoint: str | None
    registration_endpoint: str | None = None
    revocation_endpoint: str | None = None
    device_authorization_endpoint: str | None = None
    scopes: Scopes = ()
    grant_types: tuple[str, ...] | None = None
    code_challenge_methods: tuple[str, ...] | None = None
    auth_methods: tuple[str, ...] | None = None
    signing_algorithms: tuple[str, ...] | None = None
    client_id_documents: bool = False
    names_itself: bool = False
    legacy: bool = False

    def require_pkce(self, *, waived: bool = False) -> None:
        """
        Make sure that the authorization code flow is protected.

        @param waived: the user has switched this off for one server, by name.
        @raise MetadataRefused: C{S256} is not among what it supports.
        """
        if waived or (self.legacy and self.code_challenge_methods is None):
            return
        if "S256" not in (self.code_challenge_methods or ()):
            raise MetadataRefused(
                f"the authorization server {shown_issuer(self.issuer)} does not say that it supports PKCE with S256, "
                "without which a login can be stolen on its way"
            )


def resource_metadata_urls(upstream: str, challenged: str | None) -> tuple[str, ...]:
    """
    Where to look for the metadata of a resource, in this order (RFC 9728, 3.1 and 5.1; MCP, server location).

    @param upstream: the configured URL.
    @param challenged: C{resource_metadata} of the challenge; not checked.
    """
    base = origin(upstream)
    path = urlsplit(upstream).path.rstrip("/")
    well_known = f"{base}/.well-known/{RESOURCE_SUFFIX}"
    candidates = (challenged, f"{well_known}{path}", well_known)
    return tuple(dict.fromkeys(candidate for candidate in candidates if candidate))


def server_metadata_urls(issuer: str) -> tuple[str, ...]:
    """Where to look for the metadata of an authorization server, in the order that MCP prescribes."""
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")

    def at(new_path: str) -> str:
        return urlunsplit((parts.scheme, parts.netloc, new_path, "", ""))

    if not path:
        return at(f"/.well-known/{SERVER_SUFFIX}"), at(f"/.well-known/{OPENID_SUFFIX}")
    return (
        at(f"/.well-known/{SERVER_SUFFIX}{path}"),
        at(f"/.well-known/{OPENID_SUFFIX}{path}"),
        at(f"{path}/.well-known/{OPENID_SUFFIX}"),
    )


def read_resource_metadata(body: bytes, policy: URLPolicy) -> ResourceMetadata:
    """
    Read protected resource metadata.

    @raise MetadataRefused: it is not JSON, it is about another resource, or no authorization server in it can be used.
    """
    document = json_object(body)
    if document is None:
        raise MetadataRefused("the protected resource metadata is no JSON object")
    resource = document.get("resource")
    if resource is None:
        # RFC 9728 requires it; who leaves it out has at least not said that this is another's.
        resource = canonical_resource(policy.upstream)
    elif not isinstance(resource, str) or not _covers(resource, policy.upstream):
        raise MetadataRefused(
            f"the protected resource metadata is about another resource: {printable(str(resource), _EXCERPT)}"
        )
    written = list_member(document, "authorization_servers") or ()
    servers = tuple(dict.fromkeys(server for server in written[:MAX_SERVERS] if _usable(server, policy)))
    if written and not servers:
        raise MetadataRefused(
            f"the protected resource metadata names an authorization server that cannot be trusted: "
            f"{printable(written[0], _EXCERPT)}"
        )
    scopes = document.get("scopes_supported")
    return ResourceMetadata(resource, servers, valid_scopes(scopes) or None if isinstance(scopes, list) else None)


def read_server_metadata(body: bytes, issuer: str, policy: URLPolicy, *, legacy: bool = False) -> ServerMetadata:
    """
    Read authorization server metadata.

    @param issuer: the issuer from which the URL was made.
    @param legacy: see L{ServerMetadata}; then C{issuer} is an origin, which may also be written with a slash.
    @raise MetadataRefused: it is not JSON, another's, or names an endpoint that cannot be trusted.
    """
    document = json_object(body)
    if document is None:
        raise MetadataRefused("the authorization server metadata is no JSON object")
    said = document.get("issuer")
    # RFC 8414, 3.3: identical. Not normalised in any way: that is where mix-ups hide.
    if said != issuer and not (legacy and said == f"{issuer}/"):
        raise MetadataRefused(
            f"the metadata of the authorization server {shown_issuer(issuer)} says that its issuer is "
            f"{printable(str(said), _EXCERPT)}; these must be identical"
        )

    def endpoint(name: str) -> str | None:
        if document.get(name) is None:
            return None
        try:
            return policy.endpoint(document[name])
        except UntrustedURL as error:
            raise MetadataRefused(
                f"the {name} of the authorization server {shown_issuer(issuer)} cannot be trusted: this URL {error}"
            ) from None

    return ServerMetadata(
        issuer=str(said),
        authorization_endpoint=endpoint("authorization_endpoint"),
        token_endpoint=endpoint("token_endpoint"),
        registration_endpoint=endpoint("registration_endpoint"),
        revocation_endpoint=endpoint("revocation_endpoint"),
        device_authorization_endpoint=endpoint("device_authorization_endpoint"),
        scopes=valid_scopes(list_member(document, "scopes_supported") or ()),
        grant_types=list_member(document, "grant_types_supported"),
        code_challenge_methods=list_member(document, "code_challenge_methods_supported"),
        auth_methods=list_member(document, "token_endpoint_auth_methods_supported"),
        signing_algorithms=list_member(document, "token_endpoint_auth_signing_alg_values_supported"),
        client_id_documents=_flag(document, "client_id_metadata_document_supported"),
        names_itself=_flag(document, "authorization_response_iss_parameter_supported"),
        legacy=legacy,
    )


def assumed_server_metadata(upstream: str) -> ServerMetadata:
    """What holds where there is no metadata at all (MCP 2025-03-26, servers without metadata discovery)."""
    base = origin(upstream)
    return ServerMetadata(base, f"{base}/authorize", f"{base}/token", f"{base}/register", legacy=True)


def canonical_resource(upstream: str) -> str:
    """The URI of a server as RFC 8707, 2 wants it: no fragment, no query of ours, no slash at the end."""
    return origin(upstream) + urlsplit(upstream).path.rstrip("/")


def shown_issuer(issuer: str) -> str:
    """An issuer in a text of ours."""
    return printable(issuer, _EXCERPT)


def _covers(resource: str, upstream: str) -> bool:
    """Whether a resource is the upstream, or its parent at a boundary of the path; a token for another is phished."""
    if not same_origin(resource, upstream):
        return False
    parts = urlsplit(resource)
    if parts.fragment:
        return False
    ours = urlsplit(upstream)
    if parts.query and parts.query != ours.query:
        return False
    parent, path = parts.path.rstrip("/"), ours.path.rstrip("/")
    if any(segment in (".", "..") for segment in parent.split("/")):
        return False
    return path == parent or path.startswith(f"{parent}/")


def _usable(issuer: str, policy: URLPolicy) -> bool:
    try:
        policy.endpoint(issuer)
    except UntrustedURL:
        return False
    # RFC 8414, 2: no query, no fragment.
    return "?" not in issuer


def _flag(document: Mapping[str, Any], name: str) -> bool:
    return document.get(name) is True


def required(endpoint: str | None, name: str, issuer: str) -> str:
    """
    An endpoint that a step cannot do without.

    @raise MetadataRefused: the authorization server has none.
    """
    if endpoint is None:
        raise MetadataRefused(f"the authorization server {shown_issuer(issuer)} has no {name}")
    return endpoint
