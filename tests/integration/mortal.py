"""
A daemon's worth of credentials that is killed all the time: a program for L{tests.integration.test_killed}.

It imports everything once; then, for each line of input (a state folder and the URL of a server), it forks a child that
calls the server again and again, logging in when that is asked for, and says so, until somebody kills it.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.web.client import Agent, readBody
from twisted.web.http_headers import Headers

from mcpbridge.configuration import HTTPUpstream
from mcpbridge.core.errors import UpstreamUnavailable
from mcpbridge.net.agent import PreparedURL, http_client
from mcpbridge.net.producer import MessageProducer
from mcpbridge.service.authorizers import Authorizers

_CALL = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "whoami"}}).encode()


def say(word: str) -> None:
    """One line, at once."""
    os.write(1, f"{word}\n".encode())


async def live(reactor: Any, folder: str, url: str) -> None:
    """Call for ever."""
    authorizers = Authorizers(reactor, folder, {"PATH": os.environ["PATH"]})
    authorizers.start()
    upstream = HTTPUpstream("guarded", url)
    authorizers.serve([upstream])
    client = http_client(reactor, decorate=authorizers.decorate(upstream))
    logged_in = False
    while True:
        try:
            response = await client.perform(
                "POST",
                PreparedURL.prepare(url),
                Headers({b"Content-Type": [b"application/json"]}),
                MessageProducer(_CALL),
                reactor,
            )
            await readBody(response)
            say("called" if response.code == 200 else f"http {response.code}")
        except UpstreamUnavailable as error:
            if "open " not in error.loss.text:
                say(f"failed {error.loss.text}")
                await deferLater(reactor, 0.05)
                continue
            say("asked to log in" if not logged_in else "asked to log in again")
            opened = await Agent(reactor).request(b"GET", error.loss.text.split("open ")[1].split(", or")[0].encode())
            back = opened.headers.getRawHeaders(b"location")[0]
            page = await Agent(reactor).request(b"GET", back)
            logged_in = page.code == 200
            say("logged in" if logged_in else "not logged in")
            authorizers._accounts["guarded"].authorizer._settled = None  # type: ignore[union-attr]  # not to wait


def child(folder: str, url: str) -> None:
    """Live until killed."""
    from twisted.internet import reactor  # noqa: PLC0415, TID251 - one for each child

    assert "twisted.internet.reactor" in sys.modules
    Deferred.fromCoroutine(live(reactor, folder, url)).addErrback(lambda failure: say(f"broke {failure.value!r}"))
    reactor.run()


def main() -> None:
    """Fork, wait, and so on."""
    assert "twisted.internet.reactor" not in sys.modules
    for line in sys.stdin:
        folder, url = line.split()
        pid = os.fork()
        if pid == 0:
            child(folder, url)
        say(f"pid {pid}")
        os.waitpid(pid, 0)
        say("ended")


if __name__ == "__main__":
    main()
