"""Python runs this as it starts: a process that a test has started, and that loads the stack, says what it sends.

The tests have this folder on the PYTHONPATH of what they start. Nothing is imported before the stack is.
"""

import os
import sys

TAPPED = "asyncstack.link.interface"


class Finder:
    """Finds one module as all others do, and puts the taps on when that has run."""

    def find_spec(self, name, path, target=None):
        if name != TAPPED:
            return None
        sys.meta_path.remove(self)
        spec = next(filter(None, (finder.find_spec(name, path, target) for finder in sys.meta_path)))
        run = spec.loader.exec_module

        def run_and_tap(module):
            run(module)
            from packet_taps import FOLDER, Taps

            Taps(os.environ[FOLDER]).install()

        spec.loader.exec_module = run_and_tap
        return spec


if os.environ.get("SENT_BY"):
    sys.meta_path.insert(0, Finder())
