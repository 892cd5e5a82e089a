"""``specctl`` and ``python -m specctl``: where the command begins, before slow imports."""

import sys


def main() -> None:
    """Entry point; Ctrl-C while modules are imported ends it like any other."""
    try:
        from specctl.cli.commands import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
