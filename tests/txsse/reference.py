"""
An event stream parser that follows the standard's text sentence by sentence (WHATWG HTML 9.2.5 and 9.2.6), with the
whole stream in
hand. Slow and plain: the oracle for the real one.
"""

from __future__ import annotations

from txsse import Event, Retry


def lines_of(text: str) -> list[str]:
    """Lines that have an end, which is CRLF, LF or CR. What follows the last end is no line."""
    lines = []
    line = ""
    position = 0
    while position < len(text):
        character = text[position]
        if character in "\r\n":
            lines.append(line)
            line = ""
            if text[position : position + 2] == "\r\n":
                position += 1
        else:
            line += character
        position += 1
    return lines


def parse(stream: bytes) -> tuple[list[Event | Retry], str]:
    """
    @return: what the stream says, and the last event ID string at its end.
    """
    # "Streams must be decoded using the UTF-8 decode algorithm", which "strips one leading UTF-8 Byte Order Mark (BOM),
    # if any".
    text = stream.decode("utf-8", "replace")
    if stream.startswith(b"\xef\xbb\xbf"):
        text = text[1:]
    found: list[Event | Retry] = []
    data_buffer = event_type_buffer = last_event_id_buffer = last_event_id = ""
    for line in lines_of(text):
        if line == "":
            last_event_id = last_event_id_buffer
            if data_buffer == "":
                event_type_buffer = ""
                continue
            if data_buffer[-1] == "\n":
                data_buffer = data_buffer[:-1]
            name = "message"
            if event_type_buffer != "":
                name = event_type_buffer
            found.append(Event(name, data_buffer.encode("utf-8"), last_event_id))
            data_buffer = event_type_buffer = ""
            continue
        if line[0] == ":":
            continue
        if ":" in line:
            at = line.index(":")
            field, value = line[:at], line[at + 1 :]
            if value[:1] == " ":
                value = value[1:]
        else:
            field, value = line, ""
        if field == "event":
            event_type_buffer = value
        elif field == "data":
            data_buffer += value + "\n"
        elif field == "id":
            if "\0" not in value:
                last_event_id_buffer = value
        elif field == "retry" and value != "" and all(digit in "0123456789" for digit in value):
            found.append(Retry(int(value, 10)))
    return found, last_event_id
