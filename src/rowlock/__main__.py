"""`python -m rowlock` is `rowlock`."""

from rowlock.cli import main

main()
