-- Nothing to undo: 0002_request_ids takes the constraint along.
SELECT 1;
