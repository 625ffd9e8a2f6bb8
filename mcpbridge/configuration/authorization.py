"""
How a server lets us in, as far as its user has to say so: C{oauth}, C{bearerToken}, C{headersHelper}, C{tls}, C{proxy}.

With none of it a server that asks for OAuth is logged in to by the specification's own means.
"""

from __future__ import annotations

import enum
import re
import shlex
from collections.abc import Mapping
from os.path import isabs, join
from typing import Any

import attrs

from mcpbridge.configuration.table import Table
from mcpbridge.core.oauth.clients import AuthMethod
from mcpbridge.core.oauth.enterprise import ID_TOKEN, SAML2
from mcpbridge.core.oauth.errors import UntrustedURL
from mcpbridge.core.oauth.scopes import Scopes, valid_scopes
from mcpbridge.core.oauth.urls import URLPolicy, is_loopback

#: Ports below are the system's; 0 would be another one each time.
_LEAST_PORT, _MOST_PORT = 1024, 65535

#: A name for an account is a word on a command line.
_ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}")

#: What all of them have in common with a host name.
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[?[0-9A-Fa-f:]+\]?")


class Grant(enum.Enum):
    """By what right we ask for a token."""

    USER = "authorization_code"
    CLIENT = "client_credentials"
    ENTERPRISE = "enterprise"


@attrs.frozen
class Secret:
    """
    A secret, or where it is. Exactly one of the three is there.

    @ivar command: a program and its arguments; what it prints is the secret.
    """

    text: str | None = attrs.field(default=None, repr=False)
    file: str | None = None
    command: tuple[str, ...] | None = attrs.field(default=None, repr=False)


@attrs.frozen
class IdentityProvider:
    """
    Who vouches for the user (enterprise-managed authorization).

    @ivar token: the user's ID token or SAML assertion, or where it is.
    """

    token_endpoint: str
    token: Secret
    token_type: str = ID_TOKEN
    client_id: str | None = None
    client_secret: Secret | None = None


@attrs.frozen
class OAuth:
    """
    What the user has to say about OAuth. All of it may be left out.

    @ivar issuer: the authorization server that C{client_id} belongs to.
    @ivar client_document: the URL of a client ID metadata document.
    @ivar scopes: to be asked for in place of those that the server wants.
    @ivar resource: whether to name the resource (RFC 8707); some servers refuse that.
    @ivar redirect_url: a public URL that ends up at C{callback_port} here, or nowhere.
    @ivar callback_port: where to listen on loopback; L{None}: any free one.
    @ivar trusted_hosts: may be at addresses that are not public.
    @ivar require_pkce: whether a server must say that it supports PKCE.
    @ivar account: one of several that the user has at this server.
    @ivar audience: whom an assertion is for: C{issuer} or C{token_endpoint}.
    """

    grant: Grant = Grant.USER
    issuer: str | None = None
    client_id: str | None = None
    client_secret: Secret | None = None
    auth_method: AuthMethod | None = None
    client_document: str | None = None
    private_key: Secret | None = None
    key_id: str | None = None
    algorithm: str | None = None
    audience: str = "issuer"
    scopes: Scopes | None = None
    resource: bool = True
    redirect_url: str | None = None
    callback_port: int | None = None
    trusted_hosts: frozenset[str] = frozenset()
    require_pkce: bool = True
    account: str = "default"
    provider: IdentityProvider | None = None


@attrs.frozen
class TLS:
    """
    Certificates other than the system's.

    @ivar ca_file: PEM, of those whom this server's certificate may be from; L{None}: the system's.
    @ivar cert_file: PEM, our own.
    @ivar key_file: PEM, its key; L{None}: in the same file.
    """

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None


@attrs.frozen
class Authorization:
    """
    See the top of this module.

    @ivar oauth: L{None}: never, even if the server asks for it.
    @ivar bearer: a token that is there already, such as an API key.
    @ivar headers_helper: a program and its arguments; it prints a JSON object of headers.
    @ivar proxy: its URL; empty: none, whatever the environment says; L{None}: what the environment says.
    """

    oauth: OAuth | None = OAuth()
    bearer: Secret | None = None
    headers_helper: tuple[str, ...] | None = attrs.field(default=None, repr=False)
    tls: TLS = TLS()
    proxy: str | None = attrs.field(default=None, repr=False)


#: Where the user has written nothing of it.
NOTHING_SAID = Authorization()


def read_authorization(table: Table, url: str, folder: str | None, *, static: bool) -> Authorization:
    """
    Read these keys of a server's entry.

    @param url: the server's.
    @param folder: what paths are relative to.
    @param static: whether an C{Authorization} header is configured: then nobody else is to make one.
    """
    oauth = _read_oauth(table, url, folder)
    bearer = _secret(table, "bearerToken", folder)
    helper = _command(table, "headersHelper")
    if static and bearer is not None:
        table.wrong("bearerToken", 'there is an "Authorization" header already; keep one of the two')
    if static or bearer is not None:
        if oauth not in (None, OAuth()):
            table.wrong("oauth", "there is a token already; keep one of the two")
        oauth = None
    if helper is not None and "oauth" not in table:
        oauth = None
    return Authorization(oauth, bearer, helper, _read_tls(table, folder), _proxy(table))


def _read_oauth(table: Table, url: str, folder: str | None) -> OAuth | None:
    if "oauth" in table and table.peek("oauth") is False:
        table.flag("oauth")
        return None
    inner = table.table("oauth")
    if inner is None:
        return OAuth()
    # Whatever reads a member asks for it first, so that what is left over was not meant for us.
    found = OAuth(
        grant=inner.choice("grant", {grant.value: grant for grant in Grant}) or Grant.USER,
        issuer=_endpoint(inner, "issuer", url),
        client_id=inner.text("clientId") or None,
        client_secret=_secret(inner, "clientSecret", folder),
        auth_method=inner.choice("authMethod", {method.value: method for method in AuthMethod}),
        client_document=_document(inner),
        private_key=_secret(inner, "privateKey", folder),
        key_id=inner.text("keyId") or None,
        algorithm=inner.text("algorithm") or None,
        audience=inner.choice("audience", {"issuer": "issuer", "token_endpoint": "token_endpoint"}) or "issuer",
        scopes=_scopes(inner),
        resource=inner.flag("resource") is not False,
        redirect_url=_redirect(inner),
        callback_port=inner.integer("callbackPort", _LEAST_PORT, _MOST_PORT),
        trusted_hosts=_hosts(inner),
        require_pkce=inner.flag("requirePkce") is not False,
        account=_account(inner),
        provider=_provider(inner, url, folder),
    )
    inner.close({}, {}, {"scope": "scopes", "redirectUri": "redirectUrl", "clientMetadataUrl": "clientDocument"})
    _check(inner, found)
    return found


def _check(table: Table, found: OAuth) -> None:
    if found.client_id is None:
        for name, value in (("clientSecret", found.client_secret), ("authMethod", found.auth_method)):
            if value is not None:
                table.wrong(name, 'belongs to a "clientId", which is missing')
    if found.grant is not Grant.USER and found.client_id is None:
        table.wrong(None, f'the grant "{found.grant.value}" needs a "clientId"')
    if found.grant is Grant.CLIENT and found.client_secret is None and found.private_key is None:
        table.wrong(None, 'the grant "client_credentials" needs a "clientSecret" or a "privateKey"')
    if (found.grant is Grant.ENTERPRISE) != (found.provider is not None):
        table.wrong(None, '"identityProvider" and the grant "enterprise" belong together')
    if found.grant is Grant.ENTERPRISE and found.issuer is None:
        # Whom the assertion is for must not be for the resource alone to say.
        table.wrong(None, 'the grant "enterprise" needs an "issuer"')


def _provider(table: Table, url: str, folder: str | None) -> IdentityProvider | None:
    inner = table.table("identityProvider")
    if inner is None:
        return None
    endpoint, token = _endpoint(inner, "tokenEndpoint", url), _secret(inner, "token", folder)
    for name, value in (("tokenEndpoint", endpoint), ("token", token)):
        if value is None and name not in inner:
            inner.wrong(None, f'has no "{name}"')
    kind = inner.choice("tokenType", {"id_token": ID_TOKEN, "saml2": SAML2}) or ID_TOKEN
    found = IdentityProvider(
        endpoint or "",
        token or Secret(""),
        kind,
        inner.text("clientId") or None,
        _secret(inner, "clientSecret", folder),
    )
    inner.close({}, {}, {})
    return found


def _read_tls(table: Table, folder: str | None) -> TLS:
    inner = table.table("tls")
    if inner is None:
        return TLS()
    ca_file, cert_file, key_file = (_path(inner.text(name), folder) for name in ("caFile", "certFile", "keyFile"))
    if key_file is not None and cert_file is None:
        inner.wrong("keyFile", 'belongs to a "certFile", which is missing')
    inner.close({}, {}, {})
    return TLS(ca_file, cert_file, key_file)


def _secret(table: Table, name: str, folder: str | None) -> Secret | None:
    """A text, or an object that says where it is."""
    if isinstance(table.peek(name), str) or name not in table:
        text = table.text(name)
        return Secret(text=text) if text else None
    inner = table.table(name)
    if inner is None:
        return None
    file, command = _path(inner.text("file"), folder), _command(inner, "command")
    inner.close({}, {}, {})
    if (file is None) == (command is None):
        inner.wrong(None, 'must be a text, {"file": "..."} or {"command": ["..."]}')
        return None
    return Secret(file=file, command=command)


def _command(table: Table, name: str) -> tuple[str, ...] | None:
    """A program and its arguments: a list, or one text cut at its blanks; no shell takes part."""
    if not isinstance(table.peek(name), str):
        words = table.texts(name)
        if name in table and not words:
            table.wrong(name, "must not be empty")
        return words or None
    line = table.text(name)
    if line is None:
        return None
    try:
        words = tuple(shlex.split(line))
    except ValueError as error:
        table.wrong(name, f"cannot be cut into words: {error}")
        return None
    if not words:
        table.wrong(name, "must not be empty")
    return words or None


def _scopes(table: Table) -> Scopes | None:
    written = table.peek("scopes")
    words = tuple((table.text("scopes") or "").split()) if isinstance(written, str) else table.texts("scopes")
    scopes = valid_scopes(words)
    if len(scopes) != len(set(words)):
        table.wrong("scopes", "holds something that is no scope")
    return scopes or None


def _endpoint(table: Table, name: str, upstream: str) -> str | None:
    text = table.text(name)
    if text is None:
        return None
    try:
        URLPolicy(upstream).endpoint(text)
    except UntrustedURL as error:
        table.wrong(name, f"this URL {error}")
        return None
    # As written: an issuer is compared byte for byte.
    return text


def _document(table: Table) -> str | None:
    text = _endpoint(table, "clientDocument", "https://")
    if text is not None and text.count("/") < 3:
        table.wrong("clientDocument", "this URL has no path")
    return text


def _redirect(table: Table) -> str | None:
    text = table.text("redirectUrl")
    if text is None:
        return None
    try:
        URLPolicy(text if is_loopback(text) else "https://").endpoint(text)
    except UntrustedURL as error:
        table.wrong("redirectUrl", f"this URL {error}")
        return None
    return text


def _hosts(table: Table) -> frozenset[str]:
    hosts = table.texts("trustedHosts")
    for host in hosts:
        if not _HOST.fullmatch(host):
            table.wrong("trustedHosts", "holds something that is no host; write host names, without scheme and port")
    return frozenset(host.lower().strip("[].") for host in hosts)


def _account(table: Table) -> str:
    text = table.text("account")
    if text is None:
        return "default"
    if not _ACCOUNT.fullmatch(text):
        table.wrong("account", "must be a word of letters, digits and . _ @ + -")
    return text


def _proxy(table: Table) -> str | None:
    if "proxy" in table and table.peek("proxy") is False:
        table.flag("proxy")
        return ""
    text = table.text("proxy")
    if text and not re.fullmatch(r"https?://[!-~]+", text):
        table.wrong("proxy", "must begin with http:// or https://, or be false")
    return text


def _path(text: str | None, folder: str | None) -> str | None:
    if not text:
        return None
    return text if isabs(text) or folder is None else join(folder, text)


def describe(authorization: Authorization) -> Mapping[str, Any]:
    """What decides who we are to a server, for its digest; secrets take no part."""
    oauth = authorization.oauth
    return {
        "oauth": None if oauth is None else [oauth.grant.value, oauth.issuer, oauth.client_id, oauth.account],
        "bearer": authorization.bearer is not None,
        "helper": authorization.headers_helper is not None,
    }
