"""Fixtures that every test may use."""

import os
import signal
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.netns import NetworkNamespace, enter_user_namespace, why_unavailable
from tests.programs import require_program
from tests.sampling import SAMPLING, Sampling

_unavailable = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    if (
        signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    ):  # as a shell starts what is to run in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)  # else all that we start would ignore it too
    folder = os.environ.get("SENT_PACKETS")  # no option: the processes of `-n` would not know it
    if folder is None:
        temporary = tempfile.TemporaryDirectory(prefix="asyncstack-sent-")
        config.add_cleanup(temporary.cleanup)
        folder = temporary.name
    config.stash[SAMPLING] = sampling = Sampling(Path(folder), os.environ.get("PYTEST_XDIST_WORKER", ""))
    sampling.begin(config)
    config.pluginmanager.register(sampling)


def pytest_itemcollected(item: pytest.Item) -> None:
    """A test marked `tun` gets the fixture `netns` whether it names it or not, before all others."""
    names = getattr(item, "fixturenames", None)
    if names is not None and item.get_closest_marker("tun") and names[:1] != ["netns"]:
        names[:] = ["netns", *(name for name in names if name != "netns")]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Find out once whether tests with a TUN can run here. A user without privileges gets a user namespace."""
    if not any(item.get_closest_marker("tun") for item in session.items) or session.config.option.collectonly:
        return
    try:
        if os.geteuid() != 0:
            enter_user_namespace()
        reason = why_unavailable()
    except OSError as exc:
        reason = f"neither root nor a user namespace: {exc}"
    session.config.stash[_unavailable] = reason


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: object) -> None:
    """The processes of `-n 2` have threads from the start, so that it is too late for them: they inherit it."""
    if os.geteuid() != 0:
        with suppress(OSError):
            enter_user_namespace()


@pytest.fixture
def netns(request: pytest.FixtureRequest) -> Iterator[NetworkNamespace]:
    """The test, and every process it starts, runs in a new network namespace that ends with it."""
    if reason := request.config.stash.get(_unavailable, ""):
        pytest.skip(reason)
    with NetworkNamespace() as namespace, namespace.entered():
        yield namespace


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(certificate, key): files of a self-signed certificate for the name `server` and the server's addresses."""
    folder = tmp_path_factory.mktemp("certificate")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = [require_program("openssl"), "req", "-x509", "-nodes", "-days", "36500", "-subj", "/CN=server"]
    command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-addext", "subjectAltName=DNS:server,IP:127.0.0.1,IP:10.0.0.2,IP:fd00::2"]
    subprocess.run(
        [*command, "-keyout", key, "-out", certificate], check=True, capture_output=True, timeout=30
    )
    return certificate, key


@pytest.fixture
def server_tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    """The side of `certificate`."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    return context


@pytest.fixture
def client_tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    """The side that trusts it."""
    return ssl.create_default_context(cafile=certificate[0])
