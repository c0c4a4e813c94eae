"""``python -m poslens``."""

from poslens.cli import main

if __name__ == "__main__":
    main()
