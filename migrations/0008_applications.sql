CREATE TABLE `application` (
	`cluster` text NOT NULL,
	`id` text NOT NULL,
	`seq` integer NOT NULL,
	`decided` text NOT NULL,
	PRIMARY KEY(`cluster`, `id`)
);
--> statement-breakpoint
CREATE INDEX `application_seq` ON `application` (`cluster`,`seq`);--> statement-breakpoint
CREATE TABLE `build` (
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
CREATE INDEX `build_seq` ON `build` (`cluster`,`seq`);--> statement-breakpoint
CREATE TABLE `build_log` (
	`cluster` text NOT NULL,
	`build` text NOT NULL,
	`text` text NOT NULL,
	PRIMARY KEY(`cluster`, `build`)
);
--> statement-breakpoint
CREATE TABLE `delivery` (
	`cluster` text NOT NULL,
	`application` text NOT NULL,
	`id` text NOT NULL,
	`forge` text NOT NULL,
	`name` text NOT NULL,
	`at_ms` integer NOT NULL,
	`events` text NOT NULL,
	`outcome` text,
	PRIMARY KEY(`cluster`, `application`, `id`)
);
--> statement-breakpoint
CREATE INDEX `delivery_at` ON `delivery` (`cluster`,`application`,`at_ms`);--> statement-breakpoint
CREATE INDEX `delivery_unhandled` ON `delivery` (`cluster`) WHERE outcome is null;--> statement-breakpoint
CREATE TABLE `deployment` (
	`cluster` text NOT NULL,
	`id` text NOT NULL,
	`seq` integer NOT NULL,
	`decided` text NOT NULL,
	PRIMARY KEY(`cluster`, `id`)
);
--> statement-breakpoint
CREATE INDEX `deployment_seq` ON `deployment` (`cluster`,`seq`);--> statement-breakpoint
ALTER TABLE `node` ADD `images` text DEFAULT '[]' NOT NULL;