-- Rows that are being copied to another shard stay as they are: whoever does not know of the move is refused.
-- Whoever sets or lifts the fence changes it, and so passes.
CREATE TRIGGER `cluster_fence_guard` BEFORE UPDATE ON `cluster`
WHEN OLD.`fenced` = 1 AND NEW.`fenced` = 1 AND NEW.`move` = OLD.`move`
BEGIN SELECT RAISE(ABORT, 'CLUSTER_FENCED'); END;
--> statement-breakpoint
-- What a database of one cluster an account held becomes the directory's.
INSERT INTO `placement` (`cluster`, `organization`, `name`, `shard`, `state`, `changed_ms`, `created_ms`)
SELECT `id`, `account`, CASE (SELECT count(*) FROM `cluster`) WHEN 1 THEN 'default' ELSE `id` END, 'main', 'active',
	`alive_ms`, `alive_ms` FROM `cluster`;
--> statement-breakpoint
-- Erased ones are known by the tokens that they left.
INSERT INTO `placement` (`cluster`, `organization`, `name`, `shard`, `state`, `changed_ms`, `created_ms`)
SELECT DISTINCT `cluster`, '', `cluster`, 'main', 'erased', 0, 0 FROM `join_token`
WHERE `cluster` NOT IN (SELECT `id` FROM `cluster`);
