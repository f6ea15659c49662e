CREATE TABLE `audit` (
	`organization` text NOT NULL,
	`at_ms` integer NOT NULL,
	`id` text NOT NULL,
	`cluster` text,
	`actor_kind` text NOT NULL,
	`actor` text NOT NULL,
	`actor_name` text NOT NULL,
	`user` text NOT NULL,
	`action` text NOT NULL,
	`target` text NOT NULL,
	`address` text NOT NULL,
	`agent` text NOT NULL,
	`status` integer,
	PRIMARY KEY(`organization`, `at_ms`, `id`)
);
--> statement-breakpoint
CREATE TABLE `invitation` (
	`sha256` text PRIMARY KEY NOT NULL,
	`organization` text NOT NULL,
	`role` text NOT NULL,
	`note` text NOT NULL,
	`invited_by` text NOT NULL,
	`created_ms` integer NOT NULL,
	`expires_ms` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `invitation_organization` ON `invitation` (`organization`);--> statement-breakpoint
CREATE TABLE `login` (
	`id` text PRIMARY KEY NOT NULL,
	`user` text NOT NULL,
	`provider` text NOT NULL,
	`subject` text NOT NULL,
	`password` text,
	`access_token` text,
	`refresh_token` text,
	`id_token` text,
	`access_token_expires_ms` integer,
	`refresh_token_expires_ms` integer,
	`scope` text,
	`created_ms` integer NOT NULL,
	`updated_ms` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `login_user` ON `login` (`user`);--> statement-breakpoint
CREATE INDEX `login_subject` ON `login` (`provider`,`subject`);--> statement-breakpoint
CREATE TABLE `member` (
	`organization` text NOT NULL,
	`user` text NOT NULL,
	`role` text NOT NULL,
	`created_ms` integer NOT NULL,
	PRIMARY KEY(`organization`, `user`)
);
--> statement-breakpoint
CREATE INDEX `member_user` ON `member` (`user`);--> statement-breakpoint
CREATE TABLE `organization` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`audit_days` integer NOT NULL,
	`created_ms` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `session` (
	`id` text PRIMARY KEY NOT NULL,
	`user` text NOT NULL,
	`token` text NOT NULL,
	`expires_ms` integer NOT NULL,
	`created_ms` integer NOT NULL,
	`updated_ms` integer NOT NULL,
	`address` text,
	`agent` text
);
--> statement-breakpoint
CREATE UNIQUE INDEX `session_token_unique` ON `session` (`token`);--> statement-breakpoint
CREATE INDEX `session_user` ON `session` (`user`);--> statement-breakpoint
CREATE TABLE `user` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`email` text NOT NULL,
	`email_verified` integer NOT NULL,
	`image` text,
	`created_ms` integer NOT NULL,
	`updated_ms` integer NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `user_email_unique` ON `user` (`email`);--> statement-breakpoint
CREATE TABLE `verification` (
	`id` text PRIMARY KEY NOT NULL,
	`identifier` text NOT NULL,
	`value` text NOT NULL,
	`expires_ms` integer NOT NULL,
	`created_ms` integer NOT NULL,
	`updated_ms` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `verification_identifier` ON `verification` (`identifier`);--> statement-breakpoint
ALTER TABLE `token` ADD `user` text DEFAULT 'owner' NOT NULL;--> statement-breakpoint
ALTER TABLE `token` ADD `name` text DEFAULT 'owner' NOT NULL;--> statement-breakpoint
ALTER TABLE `token` ADD `kind` text DEFAULT 'secret' NOT NULL;--> statement-breakpoint
ALTER TABLE `token` ADD `role` text DEFAULT 'owner' NOT NULL;--> statement-breakpoint
ALTER TABLE `token` ADD `scopes` text;--> statement-breakpoint
ALTER TABLE `token` ADD `clusters` text;--> statement-breakpoint
ALTER TABLE `token` ADD `expires_ms` integer;--> statement-breakpoint
ALTER TABLE `token` ADD `used_ms` integer;--> statement-breakpoint
CREATE INDEX `token_organization` ON `token` (`account`);