"""`python -m gag.cli`, for `accelerate launch -m gag.cli build NAME`."""

from __future__ import annotations

from gag.cli.entry import main

if __name__ == "__main__":
    main()
