"""
What the user says of the endpoint: C{--http}, C{--http-auth}, C{--http-names}.
"""

from __future__ import annotations

from typing import Final

import attrs

from mcpbridge.core.errors import ConfigurationError
from mcpbridge.core.printable import printable
from mcpbridge.downstream.http.address import Address, address, names

#: How clients show that they may come in.
AUTHENTICATIONS: Final = ("token", "none")


@attrs.frozen
class EndpointSettings:
    """
    @ivar names: further values of C{Host} by which it may be called.
    @ivar with_token: whether clients have to show the user's token.
    """

    address: Address
    names: tuple[str, ...]
    with_token: bool


def endpoint_settings(http: str | None, authentication: str, further_names: str = "") -> EndpointSettings | None:
    """
    Read the options.

    @param http: C{HOST:PORT}; nothing for no endpoint.
    @param authentication: one of L{AUTHENTICATIONS}.
    @param further_names: names, separated by commas.
    @raise ConfigurationError: one of them cannot be used, or everybody could come in from everywhere.
    """
    if authentication not in AUTHENTICATIONS:
        known = " or ".join(AUTHENTICATIONS)
        raise ConfigurationError(f"--http-auth (MCPBRIDGE_HTTP_AUTH) is {known}, not {printable(authentication)!r}")
    if not http:
        return None
    settings = EndpointSettings(address(http), names(further_names), authentication == "token")
    if not settings.with_token and not settings.address.is_local:
        raise ConfigurationError(
            f"the HTTP endpoint at {settings.address.host} can be reached from other machines, so it needs its token: "
            "leave out --http-auth none, or listen at 127.0.0.1"
        )
    return settings
