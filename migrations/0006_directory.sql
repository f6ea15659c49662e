-- not additive: no statement names the index; a release before this one refuses a second cluster by its own look first.
CREATE TABLE `placement` (
	`cluster` text PRIMARY KEY NOT NULL,
	`organization` text NOT NULL,
	`name` text NOT NULL,
	`shard` text NOT NULL,
	`state` text NOT NULL,
	`other` text,
	`move` integer DEFAULT 0 NOT NULL,
	`changed_ms` integer NOT NULL,
	`created_ms` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `placement_organization` ON `placement` (`organization`);--> statement-breakpoint
CREATE UNIQUE INDEX `placement_name` ON `placement` (`name`) WHERE state <> 'erased';--> statement-breakpoint
DROP INDEX `cluster_account_unique`;--> statement-breakpoint
ALTER TABLE `cluster` ADD `move` integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE `cluster` ADD `fenced` integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE `organization` ADD `limits` text;