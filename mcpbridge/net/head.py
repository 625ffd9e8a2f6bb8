"""
A bound for the head of an HTTP response.

Twisted's client bounds a line (16 KiB, without a word why it hangs up) but not their number, and skips every 1xx,
also the 101 after which no HTTP follows any more.
"""

from __future__ import annotations

import re

from mcpbridge.net.failures import HeadRefused

#: Bytes, status lines and interim responses included. Servers send 1 to 4 KiB; proxies allow 32 to 64.
MAX_HEAD = 64 * 1024

#: Header lines. Servers send 10 to 30; h11 allows as many as fit, nginx 100.
MAX_FIELDS = 200

#: What L{twisted.protocols.basic.LineReceiver} takes.
_MAX_LINE = 16 * 1024

_HTTP = b"HTTP/1."

_end = re.compile(rb"\n\r?\n")
_status = re.compile(rb"HTTP/1\.[0-9] ([0-9]{3})\b")


class HeadScanner:
    """Looks at what comes, until the head of the response is complete; keeps no more than a head."""

    def __init__(self, max_head: int = MAX_HEAD, max_fields: int = MAX_FIELDS) -> None:
        self._max_head = max_head
        self._max_fields = max_fields
        self._seen = 0
        self._fields = 0
        self._head = b""
        self.complete = False

    def feed(self, data: bytes) -> None:
        """
        The next bytes, cut anywhere.

        @raise HeadRefused: what has come of the head is refused.
        """
        # At most MAX_HEAD is kept, so that joining it anew with each part costs little even if a byte comes at a time.
        rest = self._head + data if self._head else data
        while not self.complete:
            end = _end.search(rest, max(0, len(self._head) - 2))
            if end is None:
                self._check(rest, rest.count(b"\n"))
                self._head = rest
                return
            head, rest, self._head = rest[: end.end()], rest[end.end() :], b""
            # The status line and the empty line are none.
            fields = head.count(b"\n") - 2
            self._check(head, fields)
            self._seen += len(head)
            self._fields += fields
            self.complete = not self._interim(head)

    def _check(self, head: bytes, fields: int) -> None:
        if not head.startswith(_HTTP[: len(head)]):
            raise HeadRefused("the response is not HTTP")
        if self._seen + len(head) > self._max_head:
            raise HeadRefused(f"the head of the response is larger than {self._max_head} bytes")
        if self._fields + fields > self._max_fields:
            raise HeadRefused(f"the response has more than {self._max_fields} header fields")
        if len(head) > _MAX_LINE and max(map(len, head.split(b"\n"))) > _MAX_LINE:
            raise HeadRefused(f"a header line of the response is longer than {_MAX_LINE} bytes")

    def _interim(self, head: bytes) -> bool:
        found = _status.match(head)
        if found is None:
            raise HeadRefused("the response is not HTTP")
        if found[1] == b"101":
            raise HeadRefused("the server switched to a protocol that nobody asked for (HTTP 101)")
        return found[1].startswith(b"1")
