"""`python -m rowlock` is `rowlock`."""

from rowlock.ops.cli import main

main()
