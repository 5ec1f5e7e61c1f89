"""Data from files: every row checked as the API would check it, and all of them added, or none.

A file is read once, into a temporary table of a session (`loading`). While it is read, no
transaction is open: a slow pipe holds nothing back. Then one transaction compares the table with
what the database has, and adds its rows in pages, each with its events. A name, an address or an id
that is taken, there or in an earlier row, is a problem with the line that it is in.
"""
