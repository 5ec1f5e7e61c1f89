-- database/list_functions: describe the functions of the schema
-- Params:  none
-- Locks:   none
-- Rows:    name text, arguments text, result text, is_definers boolean, settings text[]?,
--          comment text?; one per function, by name
-- Index:   none, the catalogue is read
SELECT
    proname::text AS name,
    pg_get_function_identity_arguments(oid) AS arguments,
    pg_get_function_result(oid) AS result,
    prosecdef AS is_definers,
    proconfig AS settings,
    obj_description(oid, 'pg_proc') AS comment
FROM pg_proc
WHERE pronamespace = 'public'::regnamespace
ORDER BY proname, oid
