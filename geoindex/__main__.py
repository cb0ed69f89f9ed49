"""`python -m geoindex`, for machines where scripts are not on the path."""

import sys

from geoindex.cli import main

if __name__ == "__main__":
    sys.exit(main())
