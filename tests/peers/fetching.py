"""Gets uvloop's source package, of the version that is installed, into build/peers. CPython's tests are installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import version

from tests.peers.files import UVLOOP


def fetch() -> None:
    """Fetch it with pip, unless it is there. Raises CalledProcessError."""
    name = f"uvloop-{version('uvloop')}"
    stamp = UVLOOP / "version"
    if stamp.exists() and stamp.read_text() == name:
        return
    folder = UVLOOP.parent
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(UVLOOP, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "uvloop"]
    subprocess.run([*command, "--dest", str(folder), name.replace("-", "==")], check=True)
    with tarfile.open(folder / f"{name}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    (folder / name).rename(UVLOOP)
    stamp.write_text(name)
