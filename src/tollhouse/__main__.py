"""`python -m tollhouse` is the same as `tollhouse`."""

from tollhouse.cli.main import main

main()
