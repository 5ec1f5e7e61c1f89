"""The headers by which a relay says whose events it sends, and in which term of its lease."""

SOURCE = "Rowlock-Source"  # the UUID of the outbox
EPOCH = "Rowlock-Epoch"  # of the lease
