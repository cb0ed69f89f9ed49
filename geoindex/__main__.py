"""`geoindex` and `python -m geoindex`, the latter for machines where scripts are not on the path."""

import sys

INTERRUPTED = 130


def main() -> int:
    """Run one command; Ctrl-C while the command line is loaded is no traceback either."""
    try:
        from geoindex.cli import main as run
    except KeyboardInterrupt:
        if sys.stderr is not None:
            sys.stderr.write("geoindex: interrupted.\n")
        return INTERRUPTED
    return run()


if __name__ == "__main__":
    sys.exit(main())
