"""Python in a script, `%{ ... }%`: run when its time has come, with TCP_INFO of the connection in its variables."""

from __future__ import annotations

import io
import re
import textwrap
import traceback
from contextlib import redirect_stdout
from typing import Any

from asyncstack.testing.packetdrill.info import CONSTANTS
from asyncstack.testing.packetdrill.report import Mismatch
from asyncstack.testing.packetdrill.script import UnsupportedError


class Code:
    """One script's variables: what a snippet assigns, the later ones see. `output` is what they printed."""

    def __init__(self) -> None:
        self.output: list[str] = []
        self._variables: dict[str, Any] = dict(CONSTANTS)

    def run(self, source: str, values: dict[str, Any]) -> None:
        """Run `source` with `values` as variables. Raises Mismatch for what it raises."""
        variables = self._variables
        for name in [name for name in variables if name.startswith("tcpi_")]:
            del variables[name]
        variables.update(values)
        printed = io.StringIO()
        try:
            with redirect_stdout(printed):
                exec(compile(_dedent(source), "<code>", "exec"), variables)
        except NameError as exc:
            if re.match(r"tcpi_|SK_MEMINFO_", exc.name or ""):
                raise UnsupportedError(f"{exc.name} in code") from exc
            raise Mismatch(str(exc)) from exc
        except Exception as exc:
            text = "".join(traceback.format_exception_only(exc)).strip()
            named = [name for name in values if name in source]
            raise Mismatch(text, [f"{name} = {values[name]}" for name in named]) from exc
        finally:
            self.output += printed.getvalue().splitlines()


def _dedent(source: str) -> str:
    """`source` without the indentation that its place in the script gave it; the first line has none that counts."""
    first, _, rest = source.lstrip().partition("\n")
    return first + "\n" + textwrap.dedent(rest) + "\n\n"  # a backslash may end it
