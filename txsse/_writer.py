"""
From events to bytes. Whatever is written here, a parser to the letter of the standard reads back.
"""

from __future__ import annotations


def format_event(
    data: str | bytes | None,
    *,
    event: str | None = None,
    id: str | None = None,
    retry: int | None = None,
) -> bytes:
    """
    One block of an event stream (WHATWG HTML 9.2.5), blank line included.

    Line ends within the data (CR, LF, CRLF) become line feeds at the reader: the format has no way to tell them apart.

    @param data: text, or bytes that are UTF-8 already. C{""} is an event with empty data. With L{None} nothing is
        dispatched at the reader, but C{id} and C{retry} count.
    @param event: the event type; without it readers say C{message}.
    @param id: what the reader shall send as C{Last-Event-ID} when it reconnects; C{""} takes an earlier one back.
    @param retry: the reconnection time in milliseconds.
    @raise ValueError: C{event} or C{id} would end its line early, C{id} has a NUL (readers ignore such a field),
        C{retry} is negative, or text cannot be encoded as UTF-8.
    """
    parts = []
    if event is not None:
        parts.append(_field(b"event", event, "\r\n"))
    if id is not None:
        parts.append(_field(b"id", id, "\r\n\0"))
    if retry is not None:
        if retry < 0:
            raise ValueError(f"retry is a number of milliseconds, not {retry}")
        parts.append(b"retry: %d\n" % retry)
    if data is not None:
        parts.append(_lines(b"data: ", data))
    parts.append(b"\n")
    return b"".join(parts)


def format_comment(text: str | bytes = "") -> bytes:
    """
    A comment, which readers ignore, and which keeps proxies and idle timers content (WHATWG HTML 9.2.7).

    @param text: may have several lines.
    @raise ValueError: the text cannot be encoded as UTF-8.
    """
    return _lines(b": " if text else b":", text) + b"\n"


def _field(name: bytes, value: str, refused: str) -> bytes:
    if any(character in value for character in refused):
        raise ValueError(f"{name.decode()} may not contain any of {refused!r}: {value!r}")
    return b"%b: %b\n" % (name, value.encode("utf-8"))


def _lines(prefix: bytes, text: str | bytes) -> bytes:
    # Not splitlines: it forgets whether the last line had an end, and for text it cuts at U+2028 and others too.
    encoded = text.encode("utf-8") if isinstance(text, str) else text
    if b"\r" in encoded:
        encoded = encoded.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if b"\n" in encoded:
        encoded = encoded.replace(b"\n", b"\n" + prefix)
    return b"%b%b\n" % (prefix, encoded)
