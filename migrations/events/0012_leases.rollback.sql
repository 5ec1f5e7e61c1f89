CREATE OR REPLACE FUNCTION begin_epoch(OUT number bigint, OUT began boolean)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO, YMD'
AS $$
BEGIN
    SELECT opened.number, opened.began INTO number, began FROM open_epoch(false) AS opened;
END
$$;

CREATE OR REPLACE FUNCTION declare_epoch(OUT number bigint)
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO, YMD'
AS $$
BEGIN
    SELECT opened.number INTO number FROM open_epoch(true) AS opened;
END
$$;

DROP FUNCTION end_leases(boolean);
DROP TABLE idempotency_keys;
DROP TABLE leases;
