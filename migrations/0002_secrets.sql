CREATE TABLE `content` (
	`cluster` text NOT NULL,
	`material` text NOT NULL,
	`version` integer NOT NULL,
	`sealed` text NOT NULL,
	PRIMARY KEY(`cluster`, `material`, `version`)
);
--> statement-breakpoint
CREATE TABLE `material` (
	`cluster` text NOT NULL,
	`id` text NOT NULL,
	`seq` integer NOT NULL,
	`decided` text NOT NULL,
	PRIMARY KEY(`cluster`, `id`)
);
--> statement-breakpoint
CREATE INDEX `material_seq` ON `material` (`cluster`,`seq`);