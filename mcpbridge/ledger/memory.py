"""
The file itself: where things stand in it, and how a change becomes whole or does not happen.

The writer may be killed between any two instructions, but what it stored stays, in order: the file is mapped, and its
pages belong to the kernel. So a change is written where nobody looks, and then one aligned word of eight bytes is
stored that makes it count. Numbers are in the machine's own byte order: the file never leaves it.

Layout, sizes in bytes. All of it has its place from the start; only pages that were touched take memory::

    header      4,096    words, see below
    newlines    4,096    nothing but newlines, see L{mcpbridge.ledger.output}
    slots     131,072    1,024 of 128, see L{mcpbridge.ledger.slots}
    long ids  4 MiB      1,024 of 4,096, for ids that fill no slot
    state     512 KiB    two copies, see L{mcpbridge.ledger.state}
    inbox     32 MiB +   see L{mcpbridge.ledger.inbox}
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import stat
import sys

#: Begins every file that is fit for use; its last byte is the version of the layout.
MAGIC = int.from_bytes(b"MCPBRDG\x01", sys.byteorder)

#: The longest line in bytes, newline not counted: as L{mcpbridge.core.framing.MAX_LINE}.
MAX_LINE = 16 * 1024 * 1024

#: The most that is read at once: what a pipe holds. More would let one client hold up the others for longer.
READ = 64 * 1024

#: The most requests of one client that are open at once.
SLOTS = 1024
SLOT = 128
#: Bytes of an id that is kept in its slot; UUIDs and numbers are.
SHORT_ID = SLOT - 16
#: Bytes of the longest id. What is longer L{mcpbridge.core.jsonrpc} takes for no id.
LONG_ID = 4096

#: The most that may be remembered of a client's state, in bytes.
MAX_STATE = 256 * 1024

NEWLINES_AT = 4096
NEWLINES = 4096
SLOTS_AT = NEWLINES_AT + NEWLINES
LONG_IDS_AT = SLOTS_AT + SLOTS * SLOT
STATE_AT = LONG_IDS_AT + SLOTS * LONG_ID
INBOX_AT = STATE_AT + 2 * MAX_STATE
#: Twice the longest line and what may be read beyond it, so that a line can always be moved to the front whole.
INBOX = 2 * (MAX_LINE + 2 * READ)
SIZE = INBOX_AT + INBOX

# The header, in words of eight bytes.
MAGIC_WORD = 0
#: Which of the two copies of the inbox's bounds counts.
TURN_WORD = 1
#: Two times start, end, position, discarding.
BOUNDS_WORDS = 4
STATE_WORD = 12
LINE_WORD = 13
TRIED_WORD = 14
SUSPECT_WORD = 15

# Linux, fcntl(2). Python has the first two since 3.8 under these names; they are missing elsewhere.
_ADD_SEALS = getattr(fcntl, "F_ADD_SEALS", None)
_SEAL_SHRINK = getattr(fcntl, "F_SEAL_SHRINK", None)
_PUNCH = getattr(mmap, "MADV_REMOVE", None)

#: Below this wiping is cheaper than giving pages back, in bytes.
_SMALL = 256 * 1024
_ZEROS = memoryview(bytes(_SMALL))


class UnusableMemory(Exception):
    """This descriptor is no file that a client's memory could be kept in; the text says why, as half a sentence."""


class Memory:
    """
    The mapped file. Whoever makes one owns the descriptor and the file's contents until L{close}.

    @ivar fd: the file; its position in the open file description is part of what is remembered.
    @ivar view: all bytes.
    @ivar words: the header, as words.
    @ivar inherited: whether somebody served this client before.
    """

    def __init__(self, fd: int) -> None:
        """
        @param fd: a regular file, empty or one that was used here before. Taken over also if this raises.
        @raise UnusableMemory: it is something else, or there is no room for it.
        """
        self.fd = fd
        try:
            fresh = os.fstat(fd).st_size == 0
            self._map = _mapped(fd)
        except BaseException:
            os.close(fd)
            raise
        self.view = memoryview(self._map)
        self.words = self.view[:4096].cast("Q")
        self.inherited = self.words[MAGIC_WORD] == MAGIC
        if not self.inherited:
            self._begin(fresh)

    def wipe(self, start: int, end: int) -> None:
        """Make these bytes zero, and give their memory back where it is much."""
        if end - start > _SMALL and _PUNCH is not None:
            first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
            last = end // mmap.PAGESIZE * mmap.PAGESIZE
            with contextlib.suppress(OSError):  # Not every file system can; then the loop below does all of it.
                self._map.madvise(_PUNCH, first, last - first)
                self._zero(start, first)
                start = last
        self._zero(start, end)

    def copy(self, start: int, end: int) -> bytes:
        """These bytes, taken out."""
        return self._map[start:end]

    def close(self) -> None:
        """Leave the file to whoever comes next. Idempotent."""
        if self.fd < 0:
            return
        self.words.release()
        self.view.release()
        self._map.close()
        os.close(self.fd)
        self.fd = -1

    def _zero(self, start: int, end: int) -> None:
        for at in range(start, end, _SMALL):
            upto = min(at + _SMALL, end)
            self.view[at:upto] = _ZEROS[: upto - at]

    def _begin(self, fresh: bool) -> None:
        if not fresh:
            # Whatever stands here was written in another layout, or by somebody who has no business here.
            self.wipe(0, SIZE)
        self.view[NEWLINES_AT : NEWLINES_AT + NEWLINES] = b"\n" * NEWLINES
        os.lseek(self.fd, NEWLINES_AT, os.SEEK_SET)
        self.words[MAGIC_WORD] = MAGIC


def _mapped(fd: int) -> mmap.mmap:
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        raise UnusableMemory("the memory that came with the connection is no file")
    try:
        if found.st_size != SIZE:
            os.ftruncate(fd, SIZE)
        _keep_size(fd)
        return mmap.mmap(fd, SIZE)
    except (OSError, ValueError) as error:
        raise UnusableMemory(f"the memory that came with the connection cannot be used ({error})") from error


def _keep_size(fd: int) -> None:
    """See to it that a page which is touched is there: one that is not ends the process with SIGBUS."""
    if _ADD_SEALS is not None and _SEAL_SHRINK is not None:
        try:
            fcntl.fcntl(fd, _ADD_SEALS, _SEAL_SHRINK)
            return
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EPERM):
                raise
    # A file on a disk: it must have its blocks now, for later there may be none left.
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, 0, SIZE)
    elif os.fstat(fd).st_blocks * 512 < SIZE:
        for at in range(0, SIZE, _SMALL):
            os.pwrite(fd, _ZEROS[: min(_SMALL, SIZE - at)], at)
