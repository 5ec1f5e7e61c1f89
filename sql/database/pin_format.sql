-- database/pin_format: let the catalogue be printed alike everywhere, until this transaction ends
-- Params:  none
-- Locks:   none
-- Rows:    search_path text, time_zone text, date_style text, interval_style text; one
-- Index:   none, no table is read
SELECT
    set_config('search_path', 'public', true) AS search_path,
    set_config('timezone', 'UTC', true) AS time_zone,
    set_config('datestyle', 'ISO', true) AS date_style,
    set_config('intervalstyle', 'postgres', true) AS interval_style
