// Jobs by the clock: each due time starts one run, whoever plans and however late.

import { describe, expect, test } from "bun:test";
import { constrained, Little, type Words } from "../../../test/build.ts";
import { plan } from "../plan.ts";

const minute = 60_000;

/** From a whole hour on, so that due times are round. */
function scheduled(labels: Readonly<Record<string, string>>, words: Words = {}): Little {
	const little = new Little(1);
	little.nowMs = Date.UTC(2026, 0, 5, 12);
	little.settle();
	little.create("job", {
		mode: "replicated-job",
		...words,
		spec: { labels: { "skein.schedule": "*/10 * * * *", ...labels } },
	});
	return little;
}

const run = (little: Little) => little.service("job").job;
const at = (ms: number) => new Date(ms).toISOString().slice(11, 19);

test("waits for the first due time, then runs at each, once", () => {
	const little = scheduled({});
	little.fate = () => "complete";
	little.settle();
	expect(run(little)).toMatchObject({ state: "scheduled", iteration: 0 });
	const { wakeAtMs } = little.plan({ services: new Set(), nodes: new Set() });
	expect(wakeAtMs).toBe(Date.UTC(2026, 0, 5, 12, 10));
	little.settle(31 * minute);
	const begun = little.tasks("job").map(({ iteration, createdMs }) => [iteration, at(createdMs)]);
	expect(begun).toEqual([
		[0, "12:10:00"],
		[1, "12:20:00"],
		[2, "12:30:00"],
	]);
});

test("of two that plan at once from one snapshot, both start the same run", () => {
	const little = scheduled({});
	little.nowMs += 10 * minute;
	const [one, other] = [plan(little.facts, little.moment()), plan(little.facts, little.moment())];
	expect(one.changes.length).toBeGreaterThan(0);
	const runOf = ({ changes }: typeof one) =>
		changes.flatMap((change) => (change.kind === "put-service" ? [change.service.job] : []));
	expect(runOf(other)).toEqual(runOf(one));
	little.plan();
	expect(plan(little.facts, little.moment()).changes).toEqual([]);
});

test("is found due without a look at all services", () => {
	const little = scheduled({});
	little.nowMs += 10 * minute;
	little.plan({ services: new Set(), nodes: new Set() });
	expect(run(little)?.state).toBe("running");
});

describe("when the one before still runs", () => {
	test("the next is left out, and says so", () => {
		const little = scheduled({});
		little.settle(25 * minute);
		expect(run(little)).toMatchObject({
			iteration: 0,
			state: "running",
			message: "the run due at 2026-01-05T12:20:00.000Z was left out: the one before still runs",
		});
		expect(little.running("job")).toHaveLength(1);
	});

	test("one that found no node to run on holds up nobody", () => {
		const little = scheduled({}, { mode: "global-job", template: constrained("node.id==node-9") });
		little.settle(25 * minute);
		expect(run(little)).toMatchObject({ iteration: 1, state: "running", message: "" });
	});

	test("the next replaces it where that is asked for", () => {
		const little = scheduled({ "skein.schedule.overlap": "replace" });
		little.settle(25 * minute);
		expect(run(little)).toMatchObject({ iteration: 1, state: "running" });
		expect(little.running("job").map(({ iteration }) => iteration)).toEqual([1]);
	});
});

describe("due times at which nobody could plan", () => {
	test.each<readonly [string, Record<string, string>, number, string]>([
		["a moment late is in time, however many were missed before", {}, 40.5, "running"],
		["what was missed is left out", {}, 45, "scheduled"],
		[
			"and made up for by one run where that is asked for",
			{ "skein.schedule.catchup": "latest" },
			45,
			"running",
		],
	])("%s", (_name, labels, minutes, state) => {
		const little = scheduled(labels);
		little.nowMs += minutes * minute;
		little.plan();
		expect(run(little)).toMatchObject({ state, iteration: 0 });
		expect(run(little)?.nextMs).toBe(Date.UTC(2026, 0, 5, 12, 50));
		little.fate = () => "complete";
		little.settle(20_000);
		expect(little.tasks("job")).toHaveLength(state === "running" ? 1 : 0);
	});
});

test("a new schedule counts from now on, and runs nothing at once; --force does", () => {
	const little = scheduled({});
	little.update("job", (spec) => ({ ...spec, labels: { "skein.schedule": "@daily" } }));
	expect(run(little)).toMatchObject({ state: "scheduled", nextMs: Date.UTC(2026, 0, 6) });
	little.image("job", "other");
	expect(run(little)?.state).toBe("scheduled");
	little.update("job", (spec) => ({ ...spec, template: { ...spec.template, forceUpdate: 1 } }));
	expect(run(little)).toMatchObject({ state: "running", nextMs: Date.UTC(2026, 0, 6) });
});

test("without its schedule it runs no more", () => {
	const little = scheduled({});
	little.update("job", (spec) => ({ ...spec, labels: {} }));
	expect(run(little)?.nextMs).toBeNull();
	little.settle(60 * minute);
	expect(little.tasks("job")).toEqual([]);
});
