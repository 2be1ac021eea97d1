"""``python -m scalekeys``: the command line."""

from scalekeys.cli import main

main()
