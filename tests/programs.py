"""Programs of the system that some tests talk to."""

import os
import shutil

import pytest


def require_program(name: str) -> str:
    """The path of program `name`. Where it is missing the test is skipped; under CI=true it fails."""
    path = shutil.which(name)
    if path is None:
        reason = f"the program {name} is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path
