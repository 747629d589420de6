"""The folder that `asyncstack run` is tried in."""

from pathlib import Path

import pytest

from tests.loop.test_running import APP, FILE, free_port


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def folder(tmp_path: Path, port: int) -> Path:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "net.toml").write_text(FILE.format(port=port))
    return tmp_path
