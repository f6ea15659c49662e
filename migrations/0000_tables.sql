CREATE TABLE `cluster` (
	`id` text PRIMARY KEY NOT NULL,
	`account` text NOT NULL,
	`revision` integer NOT NULL,
	`seq` integer NOT NULL,
	`decided` text NOT NULL,
	`planned` integer NOT NULL,
	`wake_at_ms` integer,
	`planner` text NOT NULL,
	`planner_until_ms` integer NOT NULL,
	`alive_ms` integer NOT NULL,
	`listening_since_ms` integer NOT NULL,
	`pruned` integer NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `cluster_account_unique` ON `cluster` (`account`);--> statement-breakpoint
CREATE INDEX `cluster_wake` ON `cluster` (`wake_at_ms`);--> statement-breakpoint
CREATE TABLE `credential` (
	`node` text PRIMARY KEY NOT NULL,
	`cluster` text NOT NULL,
	`sha256` text NOT NULL
);
--> statement-breakpoint
CREATE TABLE `event` (
	`cluster` text NOT NULL,
	`at_ms` integer NOT NULL,
	`revision` integer NOT NULL,
	`place` integer NOT NULL,
	`body` text NOT NULL,
	PRIMARY KEY(`cluster`, `at_ms`, `revision`, `place`)
);
--> statement-breakpoint
CREATE TABLE `gone` (
	`cluster` text NOT NULL,
	`kind` text NOT NULL,
	`key` text NOT NULL,
	`seq` integer NOT NULL,
	`at_ms` integer NOT NULL,
	PRIMARY KEY(`cluster`, `kind`, `key`)
);
--> statement-breakpoint
CREATE INDEX `gone_seq` ON `gone` (`cluster`,`seq`);--> statement-breakpoint
CREATE TABLE `join_token` (
	`sha256` text PRIMARY KEY NOT NULL,
	`cluster` text NOT NULL,
	`role` text NOT NULL,
	`epoch` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `lease` (
	`cluster` text NOT NULL,
	`network` text NOT NULL,
	`address` text NOT NULL,
	`seq` integer NOT NULL,
	`decided` text NOT NULL,
	PRIMARY KEY(`cluster`, `network`, `address`)
);
--> statement-breakpoint
CREATE INDEX `lease_seq` ON `lease` (`cluster`,`seq`);--> statement-breakpoint
CREATE TABLE `network` (
	`cluster` text NOT NULL,
	`id` text NOT NULL,
	`seq` integer NOT NULL,
	`decided` text NOT NULL,
	PRIMARY KEY(`cluster`, `id`)
);
--> statement-breakpoint
CREATE INDEX `network_seq` ON `network` (`cluster`,`seq`);--> statement-breakpoint
CREATE TABLE `node` (
	`cluster` text NOT NULL,
	`id` text NOT NULL,
	`seq` integer NOT NULL,
	`decided` text NOT NULL,
	`description` text NOT NULL,
	`attached` text NOT NULL,
	`applied_revision` integer NOT NULL,
	`applied_hash` text NOT NULL,
	`lease_until_ms` integer NOT NULL,
	`unreachable` text NOT NULL,
	PRIMARY KEY(`cluster`, `id`)
);
--> statement-breakpoint
CREATE INDEX `node_seq` ON `node` (`cluster`,`seq`);--> statement-breakpoint
CREATE TABLE `revision` (
	`cluster` text NOT NULL,
	`revision` integer NOT NULL,
	`writer` text NOT NULL,
	`at_ms` integer NOT NULL,
	PRIMARY KEY(`cluster`, `revision`)
);
--> statement-breakpoint
CREATE TABLE `service` (
	`cluster` text NOT NULL,
	`id` text NOT NULL,
	`seq` integer NOT NULL,
	`decided` text NOT NULL,
	PRIMARY KEY(`cluster`, `id`)
);
--> statement-breakpoint
CREATE INDEX `service_seq` ON `service` (`cluster`,`seq`);--> statement-breakpoint
CREATE TABLE `task` (
	`cluster` text NOT NULL,
	`id` text NOT NULL,
	`seq` integer NOT NULL,
	`decided` text NOT NULL,
	`status` text NOT NULL,
	`rank` integer NOT NULL,
	`observed` integer NOT NULL,
	PRIMARY KEY(`cluster`, `id`)
);
--> statement-breakpoint
CREATE INDEX `task_seq` ON `task` (`cluster`,`seq`);--> statement-breakpoint
CREATE TABLE `template` (
	`cluster` text NOT NULL,
	`service` text NOT NULL,
	`version` integer NOT NULL,
	`seq` integer NOT NULL,
	`decided` text NOT NULL,
	PRIMARY KEY(`cluster`, `service`, `version`)
);
--> statement-breakpoint
CREATE INDEX `template_seq` ON `template` (`cluster`,`seq`);--> statement-breakpoint
CREATE TABLE `token` (
	`sha256` text PRIMARY KEY NOT NULL,
	`account` text NOT NULL,
	`created_ms` integer NOT NULL
);
