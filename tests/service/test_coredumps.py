"""
Tests for L{mcpbridge.service.coredumps}.
"""

from __future__ import annotations

import os
import resource

from twisted.python.runtime import platform
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.service.coredumps import forbid_core_dumps


class ForbidCoreDumpsTests(SynchronousTestCase):
    """No memory on disks. Tried in a process of its own, since there is no way back."""

    if not platform.isLinux():
        skip = "needs /proc of Linux"

    def test_nothing_to_dump(self) -> None:
        """There is no room for a dump, nothing to be put into one, and we can still be looked at."""
        pid = os.fork()
        if not pid:
            worked = False
            try:
                _, hard = resource.getrlimit(resource.RLIMIT_CORE)
                with_memory = forbid_core_dumps()
                limit = resource.getrlimit(resource.RLIMIT_CORE)
                with open("/proc/self/coredump_filter") as mask, open("/proc/self/environ", "rb") as environment:
                    worked = with_memory and limit == (0, hard) and int(mask.read(), 16) == 0
                    environment.read()
            finally:
                os._exit(0 if worked else 1)

        self.assertEqual(0, os.waitpid(pid, 0)[1])
