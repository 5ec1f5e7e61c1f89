"""An existing database gets its first epoch without a jump; 0.2.0 may go on beside it."""

import psycopg

from rowlock.engine import migrations

NEW_USER = "INSERT INTO users (username) VALUES (%s) RETURNING id"
EPOCHS = "SELECT number, declared, ids FROM cluster_epochs"


def test_upgrade__database_with_rows__epoch_1_and_the_next_id(empty_database_url: str) -> None:
    migrations.up(empty_database_url, "main")
    known = migrations.known("main")
    migrations.down(empty_database_url, "main", len(known) - known.index("0061_cluster_epochs"))
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        assert connection.execute(NEW_USER, ("ada",)).fetchone() == (1,)
        migrations.up(empty_database_url, "main")
        assert connection.execute(EPOCHS).fetchall() == [(1, "noticed", {})]
        assert connection.execute(NEW_USER, ("bob",)).fetchone() == (2,)
        assert connection.execute("SELECT * FROM begin_epoch()").fetchone() == (1, False)
        # Where the migration's own row is gone, too, nothing jumps.
        connection.execute("DELETE FROM cluster_epochs")
        assert connection.execute("SELECT * FROM begin_epoch()").fetchone() == (1, True)
        assert connection.execute(NEW_USER, ("eve",)).fetchone() == (3,)
