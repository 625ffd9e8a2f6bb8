"""
Runs everything that is checked: lint, format, types, import contracts, and all tests under trial.

C{python -m tests.run} ends with the line C{N passed, N failed}, with C{, N skipped} where tests were skipped, and an
exit status to match. Each gate counts as one test. Names of test modules may be given, to run only these.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

import attrs

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

#: What is checked before the tests, by name: modules of the virtual environment, or programs in it.
GATES: dict[str, Sequence[str]] = {
    "ruff check": ("ruff", "check", "."),
    "ruff format": ("ruff", "format", "--check", "."),
    "mypy": ("mypy",),
    "import contracts": ("lint-imports", "--no-cache"),
    "news fragments": ("towncrier", "build", "--draft", "--version", "0", "--date", "-"),
}
#: Seconds for one gate, for all tests, and between two words of trial: what hangs must not hang for ever.
GATE_DEADLINE = 600
TRIAL_DEADLINE = 3600
SILENCE_DEADLINE = 300
#: Seconds for a traceback.
_LAST_WORDS = 10

#: The last line of trial: C{PASSED (skips=1, successes=46)} or C{FAILED (failures=1, errors=2)}.
_SUMMARY = re.compile(rb"^(?:PASSED|FAILED)(?: \((?P<counts>[^)]*)\))?\s*$")
_COUNT = re.compile(r"(\w+)=(\d+)")
#: What trial tells of tests at the end: C{[FAIL]}, a traceback, then the names of those that ended like this.
_SECTION = re.compile(rb"^\[([A-Z!?]+)\]\s*$")
_TEST = re.compile(rb"^[\w.]+\.[A-Z]\w*\.test_\w+\s*$")
_BAD = (b"FAIL", b"ERROR", b"SUCCESS!?!")
_PASSED = ("successes", "expectedFailures")
_FAILED = ("failures", "errors", "unexpectedSuccesses")


@attrs.frozen
class Tally:
    """
    How many of what.

    @ivar names: of those that failed, as far as they are known.
    """

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    names: tuple[str, ...] = ()

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.passed + other.passed,
            self.failed + other.failed,
            self.skipped + other.skipped,
            self.names + other.names,
        )

    def __str__(self) -> str:
        text = f"{self.passed} passed, {self.failed} failed"
        return f"{text}, {self.skipped} skipped" if self.skipped else text


@attrs.define
class Report:
    """
    What trial has told so far.

    @ivar summary: the last line that is a summary.
    @ivar failed: names of tests.
    """

    summary: bytes | None = None
    failed: list[str] = attrs.Factory(list)
    _section: bytes = b""

    def hear(self, line: bytes) -> None:
        """Another line, without its end."""
        if _SUMMARY.match(line):
            self.summary = line
        elif found := _SECTION.match(line):
            self._section = found[1]
        elif self._section in _BAD and _TEST.match(line):
            self.failed.append(line.decode("ascii").strip())


def tally(summary: bytes | None, status: int) -> Tally:
    """
    Read what trial said last.

    @param summary: its last line that is a summary; L{None} if it ended without one.
    @param status: its exit status.
    """
    match = None if summary is None else _SUMMARY.match(summary)
    if match is None:
        return Tally(failed=1)
    counts = {name: int(count) for name, count in _COUNT.findall((match["counts"] or b"").decode("ascii"))}
    found = Tally(
        sum(counts.get(name, 0) for name in _PASSED),
        sum(counts.get(name, 0) for name in _FAILED),
        counts.get("skips", 0) + counts.get("todos", 0),
    )
    # Trial also fails when no test failed: a module that could not be imported, a reactor that was left unclean.
    return found if status == 0 or found.failed else found + Tally(failed=1)


def run_gate(name: str, command: Sequence[str]) -> Tally:
    """Run one gate; what it says is shown if it fails."""
    program = os.path.join(os.path.dirname(sys.executable), command[0])
    started = time.monotonic()
    try:
        done = subprocess.run(
            [program, *command[1:]],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=GATE_DEADLINE,
        )
        status, output = done.returncode, done.stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        status, output = 1, str(error).encode("utf-8")
    print(f"{name} ... {'ok' if status == 0 else 'FAILED'} ({time.monotonic() - started:.1f} s)", flush=True)
    if status != 0:
        _write(output + b"\n")
        return Tally(failed=1, names=(name,))
    return Tally(passed=1)


def run_trial(modules: Sequence[str], environment: dict[str, str]) -> Tally:
    """Run tests, showing what trial shows."""
    folder = tempfile.mkdtemp(prefix="mcpbridge-tests-")
    command = [sys.executable, "-m", "twisted.trial", f"--temp-directory={folder}/trial", *modules]
    child = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    report = follow(child, TRIAL_DEADLINE, SILENCE_DEADLINE)
    found = tally(report.summary, child.wait())
    found = attrs.evolve(found, names=tuple(dict.fromkeys(report.failed)))
    if not found.failed:
        shutil.rmtree(folder, ignore_errors=True)
    return found


def follow(child: subprocess.Popen[bytes], deadline: float, silence: float) -> Report:
    """
    Show what a program says until it ends.

    @param deadline: seconds that it may take.
    @param silence: seconds that it may say nothing. After that it is told to show where it is, and to end.
    @return: what it told; without a summary if it had to be ended.
    """
    assert child.stdout is not None
    end = time.monotonic() + deadline
    report, rest, told = Report(), b"", False
    with child.stdout:
        while True:
            patience = _LAST_WORDS if told else max(min(silence, end - time.monotonic()), 0)
            ready, _, _ = select.select([child.stdout], [], [], patience)
            if not ready and told:
                child.kill()
                report.summary = None
                return report
            if not ready:
                _write(b"\nThis takes too long. Where it is, and its end:\n")
                child.send_signal(signal.SIGABRT)
                told = True
                continue
            data = os.read(child.stdout.fileno(), 65536)
            if not data:
                if told:
                    report.summary = None
                return report
            _write(data)
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                report.hear(line)


def install_npm_packages(environment: dict[str, str]) -> bool:
    """
    Install what the integration tests need from npm.

    @return: whether all is there. What is in the way is said.
    """
    patience = {"npm_config_fetch_retries": "1", "npm_config_fetch_retry_mintimeout": "1000"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.packages"],
        cwd=ROOT,
        env={**patience, **environment},
        stdin=subprocess.DEVNULL,
        timeout=GATE_DEADLINE,
    )
    return done.returncode == 0


def run_everything(arguments: Sequence[str]) -> Tally:
    """
    Run what is asked for.

    @param arguments: C{--gates-only}, C{--tests-only}, or names of test modules.
    """
    options = {argument for argument in arguments if argument.startswith("--")}
    modules = [argument for argument in arguments if not argument.startswith("--")]
    found = Tally()
    if not modules and "--tests-only" not in options:
        for name, command in GATES.items():
            found += run_gate(name, command)
    if "--gates-only" not in options:
        environment = _environment()
        if not modules and not install_npm_packages(environment):
            # The tests that need them try again, and are skipped with the reason: that must not take long.
            environment["npm_config_offline"] = "true"
        found += run_trial(modules or ["tests"], environment)
    return found


def main() -> int:
    """@return: the exit status: 0 if nothing failed and something passed."""
    # A shell without job control has what it runs in the background ignore this, and tests send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    found = run_everything(sys.argv[1:])
    for name in found.names:
        # Once more, after what may be thousands of lines.
        print(f"failed: {name}")
    print(found, flush=True)
    return 0 if found.passed and not found.failed else 1


def _environment() -> dict[str, str]:
    """The user's, without what would make the tests run with the user's own daemon or settings."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MCPBRIDGE_")}
    path = clean.get("PYTHONPATH")
    return clean | {
        "PYTHONPATH": ROOT if not path else os.pathsep.join((ROOT, path)),
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "1",
    }


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
