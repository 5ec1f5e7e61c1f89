-- Nothing to undo: 0029_names_and_ids takes the constraints along. A SELECT would be printed.
DO $$ BEGIN END $$;
