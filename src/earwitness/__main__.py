"""``python -m earwitness`` is the same as ``earwitness``."""

from __future__ import annotations

from earwitness.cli import main

if __name__ == "__main__":
    main()
