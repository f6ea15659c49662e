ALTER TABLE `node` ADD `said_start` integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE `node` ADD `said_count` integer DEFAULT 0 NOT NULL;