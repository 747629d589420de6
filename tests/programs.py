"""Programs of the system, and packages, that some tests talk to."""

import glob
import importlib
import os
import shutil
from types import ModuleType

import pytest


def require_program(name: str) -> str:
    """The path of program `name`. Where it is missing the test is skipped; under CI=true it fails."""
    places = [os.environ.get("PATH", os.defpath), *sorted(glob.glob("/usr/lib/postgresql/*/bin"))]
    path = shutil.which(name, path=os.pathsep.join(places))
    return path if path is not None else _missing(f"the program {name} is not installed")


def require_package(name: str) -> ModuleType:
    """The module `name` of an optional package; as for programs."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return _missing(f"the package {name.partition('.')[0]} is not installed")


def _missing(reason: str):
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
