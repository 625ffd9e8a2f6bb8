"""
Tests for L{mcpbridge.service.allocator}.
"""

import os
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

#: Frees a block that makes glibc keep later ones, then looks at what twenty more leave behind.
PROGRAM = """
import sys
from mcpbridge.service.allocator import return_large_blocks
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
told = return_large_blocks() if sys.argv[1] == "told" else None
for _ in range(3):
    bytearray(30_000_000)
before = resident()
blocks = [bytearray(b"x" * 10_000_000) for _ in range(10)]
keep = [bytearray(100_000) for _ in range(10)]
del blocks
print(told, (resident() - before) // 1_000_000)
"""


class ReturnLargeBlocksTests(SynchronousTestCase):
    """What is freed goes back to the system."""

    if not sys.platform.startswith("linux"):
        skip = "only glibc has this setting"

    def test_returned(self) -> None:
        """After large blocks were freed the process is about as small as before."""
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

        output = subprocess.run(
            [sys.executable, "-c", PROGRAM, "told"],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout

        told, left = output.split()
        self.assertEqual("True", told)
        self.assertLess(int(left), 10)
