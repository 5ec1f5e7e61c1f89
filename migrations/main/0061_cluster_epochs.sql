-- Epochs of the cluster: ids that a lost primary may have given are not given again.
-- depends: 0060_ended_invoices_paid

CREATE TABLE cluster_epochs (
    number bigint PRIMARY KEY CHECK (number > 0),
    identity uuid NOT NULL DEFAULT gen_random_uuid(),
    system_identifier bigint NOT NULL,
    timeline bigint NOT NULL CHECK (timeline > 0),
    since timestamptz NOT NULL DEFAULT statement_timestamp(),
    declared text NOT NULL CHECK (declared IN ('noticed', 'by hand')),
    ids jsonb NOT NULL
);

COMMENT ON TABLE cluster_epochs IS
'The servers and timelines on which this database was written, a row each, the present one last. '
'A new row is a cut: what followed the row before may be lost, and all ids have jumped ahead.';
COMMENT ON COLUMN cluster_epochs.number IS 'From 1 on.';
COMMENT ON COLUMN cluster_epochs.identity IS
'Tells it from an epoch of the same number that a restore or another standby has.';
COMMENT ON COLUMN cluster_epochs.system_identifier IS
'Of the cluster, drawn by initdb: a standby has its primary''s.';
COMMENT ON COLUMN cluster_epochs.timeline IS 'Of the server; each promotion raises it.';
COMMENT ON COLUMN cluster_epochs.since IS 'When it was recorded, before its first write.';
COMMENT ON COLUMN cluster_epochs.declared IS
'noticed: by a process, before it wrote; by hand: by rowlock epoch new.';
COMMENT ON COLUMN cluster_epochs.ids IS
'By table: the last id that is stored from before the cut, and the first one after it. Tables '
'whose ids no index begins with are left out, but for the outbox: its last id is up to 32 ahead. '
'Empty for the first epoch.';

CREATE FUNCTION describe_epoch(OUT number bigint, OUT holds boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO, YMD'
AS $$
DECLARE
    latest cluster_epochs;
BEGIN
    SELECT * INTO latest FROM cluster_epochs ORDER BY cluster_epochs.number DESC LIMIT 1;
    number := coalesce(latest.number, 0);
    holds := false;
    IF latest.number IS NOT NULL AND NOT pg_is_in_recovery() THEN
        holds := latest.system_identifier = (SELECT system_identifier FROM pg_control_system())
            -- The first 8 digits of a WAL file's name, which are hexadecimal.
            AND latest.timeline
                = ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint;
    END IF;
END
$$;

REVOKE ALL ON FUNCTION describe_epoch() FROM public;

COMMENT ON FUNCTION describe_epoch() IS
'The present epoch, 0 if there is none, and whether this server may write in it: it is a primary, '
'of the epoch''s cluster and timeline. Runs as its owner.';

-- The caller has the rights: one of the two functions below.
CREATE FUNCTION open_epoch(by_hand boolean, OUT number bigint, OUT began boolean)
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO, YMD'
AS $$
DECLARE
    -- Two standbys of one primary, promoted one after the other, must not jump equally far.
    jump CONSTANT bigint := 1000000 * (1 + floor(random() * 1000)::bigint);
    present record;
    previous cluster_epochs;
    sequence record;
    given record;
    stored_id bigint;
    last_id bigint;
    first_id bigint;
    moved_sequences oid[] := '{}';
    first_ids bigint[] := '{}';
    jumps jsonb := '{}';
    opened cluster_epochs;
BEGIN
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'the server is a standby' USING ERRCODE = 'read_only_sql_transaction';
    END IF;
    PERFORM pg_advisory_xact_lock(1383036780, 6);
    SELECT * INTO present FROM describe_epoch();
    IF present.holds AND NOT by_hand THEN
        number := present.number;
        began := false;
        RETURN;
    END IF;
    SELECT * INTO previous FROM cluster_epochs WHERE cluster_epochs.number = present.number;
    IF present.number > 0 OR by_hand THEN
        -- Leaders' epochs may have been given as well, and others remember the highest one. So they
        -- go by the clock (ms), which is ahead of what any copy has given. Their terms are over.
        UPDATE leases
        SET
            epoch = greatest(
                epoch + 1000000, (extract(EPOCH FROM clock_timestamp()) * 1000)::bigint
            ),
            expires = clock_timestamp();
        LOCK TABLE outbox IN ROW EXCLUSIVE MODE;
        FOR sequence IN
            SELECT
                seqrelid AS id,
                seqmax AS greatest_id,
                relname AS of_table,
                attname AS of_column,
                EXISTS (
                    SELECT FROM pg_index
                    WHERE indrelid = refobjid AND indkey[0] = refobjsubid AND indpred IS NULL
                ) AS is_indexed
            FROM pg_depend
            INNER JOIN pg_sequence ON objid = seqrelid
            INNER JOIN pg_class ON refobjid = pg_class.oid
            INNER JOIN pg_attribute ON refobjid = attrelid AND refobjsubid = attnum
            WHERE
                classid = 'pg_class'::regclass
                AND refclassid = 'pg_class'::regclass
                AND deptype = 'i'
                AND relnamespace = 'public'::regnamespace
            ORDER BY relname
        LOOP
            EXECUTE format(
                'SELECT last_value - (NOT is_called)::integer AS id, is_called FROM %s',
                sequence.id::regclass
            ) INTO given;
            stored_id := NULL;
            IF sequence.is_indexed THEN -- else it would read the whole table
                EXECUTE format(
                    'SELECT max(%I) FROM %I', sequence.of_column, sequence.of_table
                ) INTO stored_id;
            END IF;
            last_id := greatest(given.id, stored_id);
            CONTINUE WHEN last_id >= sequence.greatest_id; -- the next one fails, as it should
            first_id := least(last_id, sequence.greatest_id - jump - 1) + jump + 1;
            moved_sequences := moved_sequences || sequence.id;
            first_ids := first_ids || first_id;
            -- Readers of the outbox look for its jumps; its sequence tells the last id well enough.
            CONTINUE WHEN NOT sequence.is_indexed AND sequence.of_table != 'outbox';
            -- A promoted server's sequence is up to 32 ahead of what was stored, and after a jump it
            -- is far ahead of a table that was not used since.
            IF NOT given.is_called THEN
                last_id := coalesce((previous.ids -> sequence.of_table ->> 'last')::bigint, 0);
            END IF;
            jumps := jumps || jsonb_build_object(
                sequence.of_table,
                jsonb_build_object('last', coalesce(stored_id, last_id), 'first', first_id)
            );
        END LOOP;
    END IF;
    INSERT INTO cluster_epochs (number, system_identifier, timeline, declared, ids)
    SELECT
        present.number + 1,
        system_identifier,
        ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint,
        CASE WHEN by_hand THEN 'by hand' ELSE 'noticed' END,
        jumps
    FROM pg_control_system()
    RETURNING * INTO opened;
    number := opened.number;
    began := true;
    -- It can't be undone. What follows can't fail: all locks were had above.
    PERFORM setval(moved.id, moved.first_id, false)
    FROM unnest(moved_sequences, first_ids) AS moved (id, first_id);
    IF jumps != '{}' THEN
        INSERT INTO outbox (name, subject, payload, actor, created_at)
        VALUES (
            'cluster.epoch_begun',
            'epoch:' || opened.number,
            jsonb_build_object(
                'epoch', opened.number,
                'timeline', opened.timeline,
                'previous_timeline', previous.timeline,
                'declared', opened.declared,
                'ids', jumps
            ),
            'system',
            opened.since
        );
    END IF;
END
$$;

REVOKE ALL ON FUNCTION open_epoch(boolean) FROM public;

COMMENT ON FUNCTION open_epoch(boolean) IS
'Records a new epoch, if this server is of another cluster or timeline than the last one, or if it '
'is declared by hand. All identity sequences jump ahead, by a million times a random number up to '
'1,000, and the epochs of leases to the clock''s milliseconds. Takes the advisory lock 6, then the '
'rows of leases, and the outbox.';

CREATE FUNCTION begin_epoch(OUT number bigint, OUT began boolean)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO, YMD'
AS $$
BEGIN
    SELECT opened.number, opened.began INTO number, began FROM open_epoch(false) AS opened;
END
$$;

REVOKE ALL ON FUNCTION begin_epoch() FROM public;

COMMENT ON FUNCTION begin_epoch() IS
'Records a new epoch, if this server is of another cluster or timeline than the last one: see '
'open_epoch. A process calls it before it writes. Runs as its owner.';

CREATE FUNCTION declare_epoch(OUT number bigint)
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO, YMD'
AS $$
BEGIN
    SELECT opened.number INTO number FROM open_epoch(true) AS opened;
END
$$;

REVOKE ALL ON FUNCTION declare_epoch() FROM public;

COMMENT ON FUNCTION declare_epoch() IS
'Records a new epoch by hand, for rowlock epoch new: the owner''s, after a restore.';

DO $$ BEGIN PERFORM begin_epoch(); END $$;
