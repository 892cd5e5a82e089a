"""``specctl`` and ``python -m specctl``: where the command begins, before slow imports."""

import os
import sys
from importlib.util import find_spec


def main() -> None:
    """Entry point; Ctrl-C while modules are imported ends it like any other."""
    if find_spec("fcntl") is None:
        sys.exit("specctl: the command runs on Linux and macOS; on Windows, try: WSL")
    for name in ("COLUMNS", "LINES"):
        # of a terminal that has no size: nothing would be printed on so many
        if not os.environ.get(name, "").strip("0"):
            os.environ.pop(name, None)
    try:
        from specctl.cli.commands import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
