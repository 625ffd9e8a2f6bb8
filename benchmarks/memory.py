"""Memory as it is shared out (PSS): the daemon with one upstream and with ten, and a relay."""

import contextlib

from benchmarks.channels import PipeChannel, call, open_session, receive
from benchmarks.subjects import Bench, server_name, servers
from benchmarks.table import Row, Target, median
from tests.integration import processes
from tests.integration.daemon import Daemon

_MIB = 1024 * 1024


def measure(bench: Bench, *, quick: bool) -> list[Row]:
    """PSS after initialize, tools/list and one call on each upstream."""
    rows: list[Row] = []
    for count, bound in ((1, 45), (10, 60)):
        paths = [f"/sse/{40 + extra}/0" for extra in range(count)]  # another path is another server
        with Daemon(servers(bench.upstream, paths)) as daemon, contextlib.ExitStack() as stack:
            relays = []
            for path in paths:
                channel = PipeChannel(daemon.relay(server_name(path)), daemon.environment, daemon.folder)
                stack.callback(channel.close)
                open_session(channel)
                channel.post(call(3, "echo", {"text": "x" * 1024}))
                receive(channel, 3)
                relays.append(channel)
            case = f"memory, {count} upstream{'s' if count > 1 else ''}"
            pss = processes.proportional(daemon.pid) / _MIB
            rss = processes.resident(daemon.pid) / _MIB
            rows.append(Row(case, "daemon PSS", pss, "MiB", Target("<=", bound), f"RSS {rss:.1f} MiB"))
            each = median([processes.proportional(relay.process.pid) / _MIB for relay in relays])
            rows.append(Row(case, "relay PSS", each, "MiB", Target("<=", 4) if count > 1 else None))
    if bench.remote is not None:
        with contextlib.closing(bench.remote.connect("/sse/40/0")) as remote:
            open_session(remote)
            assert remote.pid is not None
            rows.append(Row("memory, 1 upstream", "mcp-remote PSS", processes.proportional(remote.pid) / _MIB, "MiB"))
    return rows
