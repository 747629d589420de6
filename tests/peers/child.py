"""Runs the tests of one file of a peer, on loops of one kind, and prints what came of each as JSON.

    python -m tests.peers.child selector cpython/test_streams [pattern …]

Patterns (of `Class.test`) choose tests; those that begin with "!" leave tests out.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import signal
import sys
import unittest
from collections.abc import Sequence
from fnmatch import fnmatchcase
from types import ModuleType
from typing import Any

from tests.netns import NetworkNamespace, enter_user_namespace
from tests.peers.blocking import keep_loops_running
from tests.peers.files import UVLOOP
from tests.peers.loops import WithStack, replace_factories
from tests.peers.shared import SharedLoopback

SECONDS = 15  # for one test


def load(name: str) -> ModuleType:
    """The module of tests that `name` ("cpython/test_streams", "uvloop/test_tcp") stands for."""
    peer, _, file = name.partition("/")
    if peer == "cpython":
        return importlib.import_module(f"test.test_asyncio.{file}")
    spec = importlib.util.spec_from_file_location(f"uvloop_{file}", UVLOOP / "tests" / f"{file}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def name_of(test: unittest.TestCase) -> str:
    """`Class.test`."""
    return f"{type(test).__name__}.{test._testMethodName}"


class Outcomes(unittest.TestResult):
    """What came of each test: "passed", or how it failed; what the peer itself skips is told apart."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self.over_stack: list[str] = []

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        print(name_of(test), file=sys.stderr, flush=True)
        signal.setitimer(signal.ITIMER_REAL, SECONDS, 1)
        self.found[name_of(test)] = "passed"
        SharedLoopback.packets = 0

    def stopTest(self, test: unittest.TestCase) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if SharedLoopback.packets and self.found[name_of(test)] == "passed":
            self.over_stack.append(name_of(test))
        super().stopTest(test)

    def _bad(self, test: Any, err: Any) -> None:
        text = self._exc_info_to_string(err, test)
        name = name_of(test) if hasattr(test, "_testMethodName") else str(test)
        self.found[name] = text

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        self._bad(test, err)

    addFailure = addError

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        if err is not None:
            self._bad(test, err)

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self.found[name_of(test)] = f"skipped: {reason}"

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        self.found[name_of(test)] = "unexpected success"


def chosen(suite: unittest.TestSuite, patterns: list[str], excluded: list[str]) -> unittest.TestSuite:
    """The tests of `suite` that the patterns choose; the names of the others go to `excluded`."""
    wanted = [one for one in patterns if not one.startswith("!")] or ["*"]
    unwanted = [one[1:] for one in patterns if one.startswith("!")]
    found = unittest.TestSuite()
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            found.addTest(chosen(test, patterns, excluded))
            continue
        assert isinstance(test, unittest.TestCase)
        name = name_of(test)
        if not any(fnmatchcase(name, one) for one in wanted):
            continue
        if any(fnmatchcase(name, one) for one in unwanted):
            excluded.append(name)
        else:
            found.addTest(test)
    return found


def stale(suite: unittest.TestSuite, patterns: Sequence[str]) -> list[str]:
    """The patterns that are to leave tests out and of which no test of the file, for whichever loop, has the name."""
    unwanted = [one[1:] for one in patterns if one.startswith("!")]
    names: list[str] = []
    chosen(suite, ["!*"], names)
    return [one for one in unwanted if not any(fnmatchcase(name, one) for name in names)]


def _alarm(signum: int, frame: object) -> None:
    if WithStack.newest is not None:
        WithStack.newest.stop()  # uvloop tells its handler of exceptions what a signal raised, and goes on
    raise TimeoutError(f"the test takes more than {SECONDS} s")


def main(kind: str, name: str, *patterns: str) -> None:
    if os.geteuid() != 0:
        enter_user_namespace()
    with NetworkNamespace() as namespace, namespace.entered():
        replace_factories(kind)
        keep_loops_running()
        signal.signal(signal.SIGALRM, _alarm)
        outcomes = Outcomes()
        excluded: list[str] = []
        suite = unittest.defaultTestLoader.loadTestsFromModule(load(name))
        chosen(suite, list(patterns), excluded).run(outcomes)
    report = {
        "outcomes": outcomes.found,
        "excluded": excluded,
        "over_stack": outcomes.over_stack,
        "stale": stale(suite, patterns),
    }
    print(json.dumps(report))
    sys.stdout.flush()
    os._exit(0)  # threads of tests that failed may never end


if __name__ == "__main__":
    main(*sys.argv[1:])
