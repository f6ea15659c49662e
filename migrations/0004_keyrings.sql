CREATE TABLE `keyring` (
	`cluster` text PRIMARY KEY NOT NULL,
	`version` integer NOT NULL,
	`master` text NOT NULL,
	`wrapped` text NOT NULL,
	`resealing` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `keyring_master` ON `keyring` (`master`);--> statement-breakpoint
CREATE INDEX `keyring_resealing` ON `keyring` (`resealing`);