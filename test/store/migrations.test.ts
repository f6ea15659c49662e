// Migrations only add: the release before goes on working while the next one has already migrated, and after a way back.

import { expect, test } from "bun:test";
import { migrations } from "../../control-plane/store/migrate.ts";

/** `-- not additive: WHY` in a migration whose author has made sure that the release before can do without. */
const marker = /^-- not additive: \S.{20,}/m;

/** What may stand in a migration without a word: new tables, indexes that refuse nothing, new columns that have a value. */
const additive: readonly RegExp[] = [
	/^create table /i,
	/^create index /i,
	/^create trigger /i,
	/^insert into /i,
	/^alter table \S+ add (column )?\S+ \w+( default .+ not null)?$/i,
];

function strays(sql: string): string[] {
	const made = new Set([...sql.matchAll(/create table `(\w+)`/gi)].map(([, table]) => table));
	return sql
		.split("--> statement-breakpoint")
		.map((each) =>
			each
				.replaceAll(/^--.*$/gm, "")
				.trim()
				.replace(/;$/, ""),
		)
		.filter((each) => each !== "" && !additive.some((form) => form.test(each)))
		.filter((each) => {
			// What a table is told on the day it is made surprises nobody.
			const on = /^create unique index \S+ on `(\w+)`/i.exec(each)?.[1];
			return on === undefined || !made.has(on);
		});
}

test.each(migrations)("%s only adds, or says why not", (_name, sql) => {
	if (!marker.test(sql)) expect(strays(sql)).toEqual([]);
});

test.each([
	["drop table `node`"],
	["alter table `node` drop column `seq`"],
	["alter table `node` rename column `seq` to `at`"],
	["alter table `node` rename to `machine`"],
	["alter table `node` add `x` text not null"],
	["create unique index `one` on `node` (`seq`)"],
	["drop index `node_seq`"],
	["update `node` set `seq` = 0"],
	["delete from `node`"],
])("%s is refused without the word", (statement) => {
	expect(strays(statement)).toEqual([statement]);
	expect(marker.test(`-- not additive: nothing reads it since 0.1\n${statement}`)).toBe(true);
});
