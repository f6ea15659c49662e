-- A decision lands only as the next revision of the one that it was planned from. Updating zero rows is no error in
-- SQL, so `where revision = ?` alone would let the rest of the batch through; the trigger breaks the whole batch.
CREATE TRIGGER `cluster_revision_guard` BEFORE UPDATE OF `revision` ON `cluster`
WHEN NEW.`revision` <> OLD.`revision` + 1
BEGIN SELECT RAISE(ABORT, 'REVISION_CONFLICT'); END;
