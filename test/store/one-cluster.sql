-- A self-hosted database as it was while an account had one cluster: one node, one secret, one service of two tasks.
-- Its key is "a key for tests".
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
)
--> statement-breakpoint
CREATE TABLE `content` (
	`cluster` text NOT NULL,
	`material` text NOT NULL,
	`version` integer NOT NULL,
	`sealed` text NOT NULL,
	PRIMARY KEY(`cluster`, `material`, `version`)
)
--> statement-breakpoint
CREATE TABLE `credential` (
	`node` text PRIMARY KEY NOT NULL,
	`cluster` text NOT NULL,
	`sha256` text NOT NULL
)
--> statement-breakpoint
CREATE TABLE `event` (
	`cluster` text NOT NULL,
	`at_ms` integer NOT NULL,
	`revision` integer NOT NULL,
	`place` integer NOT NULL,
	`body` text NOT NULL,
	PRIMARY KEY(`cluster`, `at_ms`, `revision`, `place`)
)
--> statement-breakpoint
CREATE TABLE `gone` (
	`cluster` text NOT NULL,
	`kind` text NOT NULL,
	`key` text NOT NULL,
	`seq` integer NOT NULL,
	`at_ms` integer NOT NULL,
	PRIMARY KEY(`cluster`, `kind`, `key`)
)
--> statement-breakpoint
CREATE TABLE `join_token` (
	`sha256` text PRIMARY KEY NOT NULL,
	`cluster` text NOT NULL,
	`role` text NOT NULL,
	`epoch` integer NOT NULL
)
--> statement-breakpoint
CREATE TABLE `lease` (
	`cluster` text NOT NULL,
	`network` text NOT NULL,
	`address` text NOT NULL,
	`seq` integer NOT NULL,
	`decided` text NOT NULL,
	PRIMARY KEY(`cluster`, `network`, `address`)
)
--> statement-breakpoint
CREATE TABLE `material` (
	`cluster` text NOT NULL,
	`id` text NOT NULL,
	`seq` integer NOT NULL,
	`decided` text NOT NULL,
	PRIMARY KEY(`cluster`, `id`)
)
--> statement-breakpoint
CREATE TABLE migration (name text primary key not null)
--> statement-breakpoint
CREATE TABLE `network` (
	`cluster` text NOT NULL,
	`id` text NOT NULL,
	`seq` integer NOT NULL,
	`decided` text NOT NULL,
	PRIMARY KEY(`cluster`, `id`)
)
--> statement-breakpoint
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
)
--> statement-breakpoint
CREATE TABLE `revision` (
	`cluster` text NOT NULL,
	`revision` integer NOT NULL,
	`writer` text NOT NULL,
	`at_ms` integer NOT NULL,
	PRIMARY KEY(`cluster`, `revision`)
)
--> statement-breakpoint
CREATE TABLE `service` (
	`cluster` text NOT NULL,
	`id` text NOT NULL,
	`seq` integer NOT NULL,
	`decided` text NOT NULL,
	PRIMARY KEY(`cluster`, `id`)
)
--> statement-breakpoint
CREATE TABLE `task` (
	`cluster` text NOT NULL,
	`id` text NOT NULL,
	`seq` integer NOT NULL,
	`decided` text NOT NULL,
	`status` text NOT NULL,
	`rank` integer NOT NULL,
	`observed` integer NOT NULL,
	PRIMARY KEY(`cluster`, `id`)
)
--> statement-breakpoint
CREATE TABLE `template` (
	`cluster` text NOT NULL,
	`service` text NOT NULL,
	`version` integer NOT NULL,
	`seq` integer NOT NULL,
	`decided` text NOT NULL,
	PRIMARY KEY(`cluster`, `service`, `version`)
)
--> statement-breakpoint
CREATE TABLE `token` (
	`sha256` text PRIMARY KEY NOT NULL,
	`account` text NOT NULL,
	`created_ms` integer NOT NULL
)
--> statement-breakpoint
INSERT INTO cluster VALUES ('xq5e7su1agfzetzyp2xk7zez6', 'owner', 5, 8, '{"id":"xq5e7su1agfzetzyp2xk7zez6","document":{"Name":"default","Labels":{}},"specVersion":1,"addressPools":["10.0.0.0/8"],"subnetPrefix":24,"meshRange":"10.200.0.0/16","taskHistory":5,"nodeTimeoutMs":12000,"tokens":{"worker":{"epoch":1,"sha256":"2c0e6bbfd1637cc6c87f5cff690898097968145752123bff14f035b564386c6b"},"manager":{"epoch":1,"sha256":"1231bf10be00a81389a76c5ca8cd6e3b3582eac0c9cf53455976f75f7fa0bee6"}},"createdMs":1795826192568,"updatedMs":1795826192568}', 8, 1795826205170, '', 0, 1795826193159, 1795826192568, 0)
--> statement-breakpoint
INSERT INTO content VALUES ('xq5e7su1agfzetzyp2xk7zez6', 'j14mcvinxtlmf3t3rj9fg1gpi', 1, '1.B7cm3rX5CHKIuECr.xX9iGZTo71JMHM47PpzL1RBv4Zr+L1Q=')
--> statement-breakpoint
INSERT INTO credential VALUES ('izq6dmihkypq0yqcj181qyf44', 'xq5e7su1agfzetzyp2xk7zez6', '67f861e9fa7e369d423bd3ae1272666006fd57eecf78a7a6badd59fca08534ce')
--> statement-breakpoint
INSERT INTO event VALUES ('xq5e7su1agfzetzyp2xk7zez6', 1795826193042, 2, 0, '{"type":"node","action":"create","id":"izq6dmihkypq0yqcj181qyf44","attributes":{"name":"vm1"},"timeMs":1795826193042}')
--> statement-breakpoint
INSERT INTO event VALUES ('xq5e7su1agfzetzyp2xk7zez6', 1795826193043, 2, 1, '{"type":"node","action":"update","id":"izq6dmihkypq0yqcj181qyf44","attributes":{"name":"vm1","state.old":"unknown","state.new":"ready"},"timeMs":1795826193043}')
--> statement-breakpoint
INSERT INTO event VALUES ('xq5e7su1agfzetzyp2xk7zez6', 1795826193102, 3, 0, '{"type":"secret","action":"create","id":"j14mcvinxtlmf3t3rj9fg1gpi","attributes":{"name":"pw"},"timeMs":1795826193102}')
--> statement-breakpoint
INSERT INTO event VALUES ('xq5e7su1agfzetzyp2xk7zez6', 1795826193142, 4, 0, '{"type":"service","action":"create","id":"wwbpolbvi03a4u3roqgeb52wg","attributes":{"name":"web"},"timeMs":1795826193142}')
--> statement-breakpoint
INSERT INTO join_token VALUES ('2c0e6bbfd1637cc6c87f5cff690898097968145752123bff14f035b564386c6b', 'xq5e7su1agfzetzyp2xk7zez6', 'worker', 1)
--> statement-breakpoint
INSERT INTO join_token VALUES ('1231bf10be00a81389a76c5ca8cd6e3b3582eac0c9cf53455976f75f7fa0bee6', 'xq5e7su1agfzetzyp2xk7zez6', 'manager', 1)
--> statement-breakpoint
INSERT INTO lease VALUES ('xq5e7su1agfzetzyp2xk7zez6', 'xyfzv8cjbawxe693xa95oxvkv', '10.255.0.2', 2, '{"network":"xyfzv8cjbawxe693xa95oxvkv","address":"10.255.0.2","prefix":32,"holder":"gateway:izq6dmihkypq0yqcj181qyf44","releasedMs":0}')
--> statement-breakpoint
INSERT INTO material VALUES ('xq5e7su1agfzetzyp2xk7zez6', 'j14mcvinxtlmf3t3rj9fg1gpi', 5, '{"kind":"secret","id":"j14mcvinxtlmf3t3rj9fg1gpi","name":"pw","labels":{},"versions":[{"number":1,"templating":false,"createdMs":1795826193102}],"specVersion":1,"document":{"Name":"pw","Labels":{}},"createdMs":1795826193102,"updatedMs":1795826193102}')
--> statement-breakpoint
INSERT INTO migration VALUES ('0000_tables')
--> statement-breakpoint
INSERT INTO migration VALUES ('0001_revision_guard')
--> statement-breakpoint
INSERT INTO migration VALUES ('0002_secrets')
--> statement-breakpoint
INSERT INTO network VALUES ('xq5e7su1agfzetzyp2xk7zez6', 'xyfzv8cjbawxe693xa95oxvkv', 1, '{"id":"xyfzv8cjbawxe693xa95oxvkv","name":"ingress","vni":4096,"subnet":"10.255.0.0/16","internal":false,"attachable":false,"ingress":true,"labels":{},"options":{},"document":{},"createdMs":1795826192568}')
--> statement-breakpoint
INSERT INTO node VALUES ('xq5e7su1agfzetzyp2xk7zez6', 'izq6dmihkypq0yqcj181qyf44', 7, '{"id":"izq6dmihkypq0yqcj181qyf44","index":1,"meshAddress":"10.200.0.1","spec":{"name":"","role":"worker","availability":"active","labels":{}},"specVersion":1,"status":{"state":"ready","message":"","sinceMs":1795826193036},"createdMs":1795826193036,"updatedMs":1795826193036}', '{"hostname":"vm1","os":"linux","architecture":"x86_64","kernel":"6.1.0","engineVersion":"28.5.0","engineLabels":{},"plugins":[],"agentVersion":"0.1.0","nanoCpus":2000000000,"memoryBytes":4000000000,"publicKey":"0001BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB=","wireguardPort":51820,"wireguard":"kernel","addresses":["192.168.77.1"],"routes":[],"problems":[]}', '[]', 4, 'fd10157934ec986acc22193fb488452f15c4c9cccdf588a392cfbd5da873fedf', 1795826205159, '[]')
--> statement-breakpoint
INSERT INTO revision VALUES ('xq5e7su1agfzetzyp2xk7zez6', 1, 'xq5e7su1agfzetzyp2xk7zez6', 1795826192568)
--> statement-breakpoint
INSERT INTO revision VALUES ('xq5e7su1agfzetzyp2xk7zez6', 2, 'nsi90vntqx98yd7glb5g1x2pk', 1795826193043)
--> statement-breakpoint
INSERT INTO revision VALUES ('xq5e7su1agfzetzyp2xk7zez6', 3, 'm7fbci3tozuon23avcjazpze7', 1795826193102)
--> statement-breakpoint
INSERT INTO revision VALUES ('xq5e7su1agfzetzyp2xk7zez6', 4, 'g9zh7ax59b522c10y2pjxarcq', 1795826193142)
--> statement-breakpoint
INSERT INTO revision VALUES ('xq5e7su1agfzetzyp2xk7zez6', 5, 'ljntq829wegztcwrr2oar5n65', 1795826193177)
--> statement-breakpoint
INSERT INTO service VALUES ('xq5e7su1agfzetzyp2xk7zez6', 'wwbpolbvi03a4u3roqgeb52wg', 6, '{"id":"wwbpolbvi03a4u3roqgeb52wg","spec":{"name":"web","labels":{},"mode":{"kind":"replicated","replicas":2},"template":{"container":{"image":"nginx@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","command":[],"args":[],"env":[],"labels":{},"dir":"","user":"","groups":[],"hostname":"","tty":false,"openStdin":false,"readOnly":false,"init":null,"stopSignal":"","stopGraceMs":10000,"mounts":[],"healthcheck":null,"hosts":[],"dns":{"nameservers":[],"search":[],"options":[]},"capabilityAdd":[],"capabilityDrop":[],"sysctls":{},"ulimits":[],"noNewPrivileges":false,"oomScoreAdj":0,"files":[{"kind":"secret","material":"j14mcvinxtlmf3t3rj9fg1gpi","name":"pw","version":1,"target":"/run/secrets/pw","uid":0,"gid":0,"mode":292,"templating":false}]},"limits":{"nanoCpus":0,"memoryBytes":0,"pids":0},"reservations":{"nanoCpus":0,"memoryBytes":0,"pids":0},"restart":{"condition":"any","delayMs":5000,"maxAttempts":0,"windowMs":0},"placement":{"constraints":[],"spreads":[],"maxReplicasPerNode":0,"platforms":[]},"networks":[],"forceUpdate":0,"logDriver":null},"endpointMode":"vip","ports":[],"update":{"parallelism":1,"delayMs":0,"failureAction":"pause","monitorMs":5000,"maxFailureRatio":0,"order":"stop-first"},"rollback":{"parallelism":1,"delayMs":0,"failureAction":"pause","monitorMs":5000,"maxFailureRatio":0,"order":"stop-first"}},"document":{"Name":"web","TaskTemplate":{"ContainerSpec":{"Isolation":"default","Image":"nginx@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","Secrets":[{"File":{"Name":"pw","UID":"0","GID":"0","Mode":292},"SecretID":"j14mcvinxtlmf3t3rj9fg1gpi","SecretName":"pw"}]},"ForceUpdate":0,"Runtime":"container"},"Mode":{"Replicated":{"Replicas":2}},"Labels":{}},"specVersion":1,"templateVersion":1,"previous":null,"ports":[],"updateStatus":null,"createdMs":1795826193128,"updatedMs":1795826193128,"removing":false}')
--> statement-breakpoint
INSERT INTO task VALUES ('xq5e7su1agfzetzyp2xk7zez6', 'wuub3ldi7szh3wlgut5u94mzd', 8, '{"id":"wuub3ldi7szh3wlgut5u94mzd","service":"wwbpolbvi03a4u3roqgeb52wg","slot":1,"node":"izq6dmihkypq0yqcj181qyf44","templateVersion":1,"generation":1,"desired":"running","attachments":[],"serving":true,"tablesRevision":5,"released":false,"createdMs":1795826193128,"startAfterMs":0}', '{"state":"running","message":"running 3","error":"","sinceMs":1795826193152,"observed":3,"health":"none","containerId":"container-wuub3ldi7szh3wlgut5u94mzd","pid":0,"exitCode":null,"ports":[]}', 512, 3)
--> statement-breakpoint
INSERT INTO task VALUES ('xq5e7su1agfzetzyp2xk7zez6', 'vw9k9v3ubknhs51kbwbi3tsyp', 8, '{"id":"vw9k9v3ubknhs51kbwbi3tsyp","service":"wwbpolbvi03a4u3roqgeb52wg","slot":2,"node":"izq6dmihkypq0yqcj181qyf44","templateVersion":1,"generation":1,"desired":"running","attachments":[],"serving":true,"tablesRevision":5,"released":false,"createdMs":1795826193128,"startAfterMs":0}', '{"state":"running","message":"running 2","error":"","sinceMs":1795826193152,"observed":2,"health":"none","containerId":"container-vw9k9v3ubknhs51kbwbi3tsyp","pid":0,"exitCode":null,"ports":[]}', 512, 2)
--> statement-breakpoint
INSERT INTO template VALUES ('xq5e7su1agfzetzyp2xk7zez6', 'wwbpolbvi03a4u3roqgeb52wg', 1, 6, '{"service":"wwbpolbvi03a4u3roqgeb52wg","version":1,"template":{"container":{"image":"nginx@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","command":[],"args":[],"env":[],"labels":{},"dir":"","user":"","groups":[],"hostname":"","tty":false,"openStdin":false,"readOnly":false,"init":null,"stopSignal":"","stopGraceMs":10000,"mounts":[],"healthcheck":null,"hosts":[],"dns":{"nameservers":[],"search":[],"options":[]},"capabilityAdd":[],"capabilityDrop":[],"sysctls":{},"ulimits":[],"noNewPrivileges":false,"oomScoreAdj":0,"files":[{"kind":"secret","material":"j14mcvinxtlmf3t3rj9fg1gpi","name":"pw","version":1,"target":"/run/secrets/pw","uid":0,"gid":0,"mode":292,"templating":false}]},"limits":{"nanoCpus":0,"memoryBytes":0,"pids":0},"reservations":{"nanoCpus":0,"memoryBytes":0,"pids":0},"restart":{"condition":"any","delayMs":5000,"maxAttempts":0,"windowMs":0},"placement":{"constraints":[],"spreads":[],"maxReplicasPerNode":0,"platforms":[]},"networks":[],"forceUpdate":0,"logDriver":null},"hostPorts":[],"document":{"ContainerSpec":{"Isolation":"default","Image":"nginx@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","Secrets":[{"File":{"Name":"pw","UID":"0","GID":"0","Mode":292},"SecretID":"j14mcvinxtlmf3t3rj9fg1gpi","SecretName":"pw"}]},"ForceUpdate":0}}')
--> statement-breakpoint
INSERT INTO token VALUES ('57b81ef3089cc2f8cc8388f8fbbb08c1c4ba1a0b0e40c5de851596709e3ebfd7', 'owner', 1795826192539)
--> statement-breakpoint
CREATE UNIQUE INDEX `cluster_account_unique` ON `cluster` (`account`)
--> statement-breakpoint
CREATE TRIGGER `cluster_revision_guard` BEFORE UPDATE OF `revision` ON `cluster`
WHEN NEW.`revision` <> OLD.`revision` + 1
BEGIN SELECT RAISE(ABORT, 'REVISION_CONFLICT'); END
--> statement-breakpoint
CREATE INDEX `cluster_wake` ON `cluster` (`wake_at_ms`)
--> statement-breakpoint
CREATE INDEX `gone_seq` ON `gone` (`cluster`,`seq`)
--> statement-breakpoint
CREATE INDEX `lease_seq` ON `lease` (`cluster`,`seq`)
--> statement-breakpoint
CREATE INDEX `material_seq` ON `material` (`cluster`,`seq`)
--> statement-breakpoint
CREATE INDEX `network_seq` ON `network` (`cluster`,`seq`)
--> statement-breakpoint
CREATE INDEX `node_seq` ON `node` (`cluster`,`seq`)
--> statement-breakpoint
CREATE INDEX `service_seq` ON `service` (`cluster`,`seq`)
--> statement-breakpoint
CREATE INDEX `task_seq` ON `task` (`cluster`,`seq`)
--> statement-breakpoint
CREATE INDEX `template_seq` ON `template` (`cluster`,`seq`)
