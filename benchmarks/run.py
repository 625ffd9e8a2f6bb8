"""
C{python -m benchmarks.run [--quick] [--json] [NAME ...]}: measure, and print figures with their targets.

Subjects take turns within every round, so that what else the machine does meets all of them; figures are medians.
"""

import argparse
import json
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable

from benchmarks import calls, large, memory, relays, startup, streaming, throughput, translated
from benchmarks.subjects import Bench
from benchmarks.table import Row, show

BENCHMARKS: dict[str, Callable[..., list[Row]]] = {
    "startup": startup.measure,
    "calls": calls.measure,
    "translated": translated.measure,
    "throughput": throughput.measure,
    "streaming": streaming.measure,
    "large": large.measure,
    "memory": memory.measure,
    "relays": relays.measure,
}


def main() -> int:
    """
    Run what the command line names.

    @return: the exit status: 1 when a benchmark could not be finished; a missed target is no failure.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, smaller crowds")
    parser.add_argument("--json", action="store_true", help="JSON on stdout instead of a table")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)} (default: all)")
    options = parser.parse_args()
    for name in options.names:
        if name not in BENCHMARKS:
            parser.error(f"no benchmark {name}; there are {', '.join(BENCHMARKS)}")
    rows: list[Row] = []
    failed: dict[str, str] = {}
    load = os.getloadavg()[0]
    for name in options.names or BENCHMARKS:
        start = time.monotonic()
        try:
            with Bench.open() as bench:
                if bench.missing:
                    print(f"mcp-remote is left out: {bench.missing}", file=sys.stderr)
                rows += BENCHMARKS[name](bench, quick=options.quick)
        except Exception as error:  # noqa: BLE001 - the other benchmarks are worth having all the same
            failed[name] = f"{type(error).__name__}: {error}"
            traceback.print_exc()
        print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr)
    machine = {"python": platform.python_version(), "cores": os.cpu_count(), "load before": load}
    if options.json:
        print(json.dumps({"machine": machine, "failed": failed, "rows": [row.as_json() for row in rows]}, indent=1))
    else:
        print(f"{machine}\n\n{show(rows)}")
        for name, why in failed.items():
            print(f"\n{name} could not be finished: {why}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
