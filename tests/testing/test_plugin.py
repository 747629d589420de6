"""The pytest plugin, in test runs of its own."""

import asyncio
import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]

SIMPLE = """
    import asyncio, time
    import pytest

    @pytest.mark.virtual_time
    async def test_jumps():
        await asyncio.sleep(3600)
        assert asyncio.get_running_loop().time() == 3600.0

    async def test_real_time():
        loop = asyncio.get_running_loop()
        assert type(loop).__name__ != "VirtualTimeLoop"
        assert abs(loop.time() - time.monotonic()) < 1

    @pytest.mark.virtual_time(start=5.0)
    @pytest.mark.parametrize("n", [1, 2])
    async def test_again(n):
        assert asyncio.get_running_loop().time() == 5.0

    def test_plain():
        pass
"""
FAILING = """
    import pytest

    @pytest.mark.virtual_time
    async def test_fails(network):
        a, b = network.host("a", "10.0.0.1/24"), network.host("b", "10.0.0.2/24")
        network.link(a, b, delay=0.1)
        await a.ping("b")
        assert network.seed == 0

    @pytest.mark.virtual_time
    async def test_passes(network):
        pass
"""


@pytest.fixture
def run_pytest(pytester):
    pytester.makeini(
        "[pytest]\nasyncio_mode=auto\nasyncio_default_fixture_loop_scope=function\naddopts=--strict-markers\n"
    )

    def run(source, *arguments):
        pytester.makepyfile(source)
        return pytester.runpytest_subprocess(
            "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *arguments
        )

    return run


@pytest.mark.virtual_time
async def test_this_very_test_runs_in_virtual_time():
    await asyncio.sleep(86_000)
    assert asyncio.get_running_loop().time() == 86_000.0


def test_mark_chooses_the_loop_and_leaves_names_alone(run_pytest):
    result = run_pytest(SIMPLE, "-v")
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(
        ["*::test_jumps PASSED*", "*::test_real_time PASSED*", "*::test_again[[]1] PASSED*"]
    )


def test_what_is_missing_is_said(run_pytest):
    result = run_pytest(SIMPLE, "-p", "no:asyncio")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*needs pytest-asyncio: pip install 'pytest-asyncio>=1.5'*"])


def test_pytest_asyncio_may_be_strict(run_pytest):
    source = SIMPLE.replace("async def test_real_time", "@pytest.mark.asyncio\n    async def test_real_time")
    result = run_pytest(source, "-v", "-o", "asyncio_mode=strict", "-W", "error::pytest.PytestWarning")
    result.assert_outcomes(passed=5)


def test_deadlock_and_limit_fail_the_test(run_pytest):
    result = run_pytest(
        """
        import asyncio, pytest

        @pytest.mark.virtual_time
        async def test_blocked():
            await asyncio.Event().wait()

        @pytest.mark.virtual_time(limit=100)
        async def test_endless():
            while True:
                await asyncio.sleep(1)

        @pytest.mark.virtual_time
        async def test_after_that():
            await asyncio.sleep(1)
        """
    )
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        ["*DeadlockError: every task waits*", "*: test_blocked (*", "*TimeLimitError*limit of 100 s*"]
    )


def test_failure_tells_the_seed(run_pytest):
    result = run_pytest(FAILING, "--asyncstack-seed=77")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["*simulated network*", "the network's seed was 77; repeat with --asyncstack-seed=77"]
    )


def test_default_seed_is_the_tests_own_and_stays(run_pytest):
    def seeds():
        return [line for line in run_pytest(FAILING).outlines if "seed was" in line]

    first = seeds()
    assert len(first) == 1
    assert first == seeds()


def test_seed_may_be_random_or_the_marks(run_pytest):
    first, second = (
        [line for line in run_pytest(FAILING, "--asyncstack-seed=random").outlines if "seed was" in line]
        for _ in range(2)
    )
    assert first != second
    run_pytest(
        """
        import pytest

        @pytest.mark.virtual_time(seed=5)
        async def test_seed(network):
            assert network.seed == 5
        """
    ).assert_outcomes(passed=1)


def test_capture_of_failures_only(run_pytest, pytester):
    run_pytest(FAILING, "--asyncstack-capture").assert_outcomes(passed=1, failed=1)
    (path,) = (pytester.path / "build/captures").iterdir()
    assert path.name.endswith("test_fails.pcapng")
    assert path.stat().st_size > 200


@pytest.mark.parametrize("mark", ["(3)", "(limits=3)"])
def test_wrong_marks_are_told(run_pytest, mark):
    result = run_pytest(f"import pytest\n\n@pytest.mark.virtual_time{mark}\nasync def test_x():\n    pass\n")
    assert result.ret != 0
    assert "takes limit=, start= and seed= only" in str(result.stdout) + str(result.stderr)


def test_wrong_seed_is_told(run_pytest):
    result = run_pytest(SIMPLE, "--asyncstack-seed=seven")
    assert "--asyncstack-seed=seven: give a number, or `random`" in str(result.stdout) + str(result.stderr)


def test_plugin_is_cheap_to_import():
    heavy = [
        "uvloop",
        "dpkt",
        "aiofiles",
        "httptools",
        "websockets",
        "pyroute2",
        "click",
        "rich",
        "asyncstack.testing.network",
    ]
    code = f"import sys, asyncstack.testing.plugin; print([name for name in {heavy} if name in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"
