"""What all cells share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ecosystem.peers import Peers
from tests.ecosystem.places import ADDRESSES
from tests.ecosystem.site import prepare
from tests.netns import NetworkNamespace


@pytest.fixture(scope="session")
def site_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with certificates for the server's addresses."""
    folder = tmp_path_factory.mktemp("site")
    prepare(folder, ADDRESSES)
    return folder


@pytest.fixture(scope="module")
def peers() -> Iterator[Peers]:
    """What starts the kernel's side."""
    made = Peers()
    yield made
    made.close()


@pytest.fixture
def isolated() -> Iterator[None]:
    """Where the user may make one, an empty network namespace: a call that a defect lets through to the kernel fails
    in it. Stack to stack needs no privileges, so without them the test runs where it is."""
    try:
        namespace = NetworkNamespace()
    except OSError:
        yield
        return
    with namespace, namespace.entered():
        yield
