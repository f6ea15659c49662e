// Schedules: what labels say, when it is due where clocks change, and what is refused.

import { expect, test } from "bun:test";
import { checkSchedule, nextDueMs } from "./schedule.ts";

const label = (pattern: string, more: Readonly<Record<string, string>> = {}) => ({
	"skein.schedule": pattern,
	...more,
});

test.each<readonly [string, string, string, string, readonly string[]]>([
	[
		"five fields",
		"30 4 * * *",
		"UTC",
		"2026-05-01T12:00Z",
		["2026-05-02T04:30", "2026-05-03T04:30"],
	],
	[
		"six, seconds first",
		"*/20 * * * * *",
		"UTC",
		"2026-05-01T12:00Z",
		["2026-05-01T12:00:20", "2026-05-01T12:00:40"],
	],
	["a nickname", "@monthly", "UTC", "2026-05-01T12:00Z", ["2026-06-01T00:00", "2026-07-01T00:00"]],
	[
		"a zone",
		"30 4 * * *",
		"Asia/Kolkata",
		"2026-05-01T12:00Z",
		["2026-05-01T23:00", "2026-05-02T23:00"],
	],
	[
		"a time that summer time leaves out is due at the end of the gap",
		"30 2 * * *",
		"Europe/Berlin",
		"2026-03-28T12:00Z",
		["2026-03-29T01:00", "2026-03-30T00:30"],
	],
	[
		"a time that comes twice is due once",
		"30 2 * * *",
		"Europe/Berlin",
		"2026-10-24T12:00Z",
		["2026-10-25T00:30", "2026-10-26T01:30"],
	],
	[
		"an hourly one is due in both hours of one name",
		"0 * * * *",
		"Europe/Berlin",
		"2026-10-24T23:30Z",
		["2026-10-25T00:00", "2026-10-25T01:00"],
	],
	[
		"one moment is due once",
		"2026-12-24T18:00:00",
		"Europe/Berlin",
		"2026-05-01T12:00Z",
		["2026-12-24T17:00"],
	],
])("%s", (_name, pattern, timezone, from, want) => {
	const schedule = checkSchedule(
		label(pattern, { "skein.schedule.timezone": timezone }),
		Date.parse(from),
	);
	if (!schedule) throw new Error("there is one");
	const due: (number | null)[] = [];
	let ms: number | null = Date.parse(from);
	while (ms !== null && due.length < want.length) {
		ms = nextDueMs(schedule, ms);
		due.push(ms);
	}
	expect(due).toEqual(want.map((text) => Date.parse(`${text}Z`)));
	if (pattern.startsWith("2026")) expect(nextDueMs(schedule, due[0] ?? 0)).toBeNull();
});

test.each<readonly [string, Readonly<Record<string, string>>, string]>([
	["no schedule", label("whenever"), 'label skein.schedule: "whenever" is no schedule'],
	[
		"a minute that is none",
		label("61 * * * *"),
		'label skein.schedule: "61 * * * *" is no schedule',
	],
	["never due", label("0 0 31 2 *"), "never comes due"],
	[
		"no zone",
		label("@daily", { "skein.schedule.timezone": "Mars/Base" }),
		'label skein.schedule.timezone: "Mars/Base" is no time zone: give an IANA name',
	],
	[
		"no such policy",
		label("@daily", { "skein.schedule.overlap": "allow" }),
		'label skein.schedule.overlap: "allow" is not one of skip, replace',
	],
	["nor such", label("@daily", { "skein.schedule.catchup": "all" }), "is not one of none, latest"],
	[
		"a label misspelt",
		label("@daily", { "skein.schedule.timezome": "UTC" }),
		"label skein.schedule.timezome means nothing: there are",
	],
	[
		"a zone alone",
		{ "skein.schedule.timezone": "UTC" },
		"label skein.schedule.timezone needs label skein.schedule: give five fields",
	],
])("refused: %s", (_name, labels, message) => {
	expect(() => checkSchedule(labels, Date.UTC(2026, 0))).toThrow(message);
});

test("other labels say nothing of schedules", () => {
	expect(checkSchedule({ "skein.scheduled": "x", tier: "web" }, 0)).toBeNull();
});
