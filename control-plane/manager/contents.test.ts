import { expect, test } from "bun:test";
import type { MaterialId } from "../../model/id.ts";
import { type FileReference, filesOf, type Material, withContent } from "../../model/material.ts";
import { Little } from "../../test/build.ts";
import { check } from "./checks.ts";

const pw = "pw0" as MaterialId;
const version = (number: number) => ({ number, templating: false, createdMs: 1 });
const material = (...numbers: [number, ...number[]]): Material => {
	const [first, ...more] = numbers;
	return {
		kind: "secret",
		id: pw,
		name: "pw",
		labels: {},
		versions: [version(first), ...more.map(version)],
		specVersion: 1,
		document: {},
		createdMs: 1,
		updatedMs: 1,
	};
};
const file: FileReference = {
	kind: "secret",
	material: pw,
	version: 1,
	name: "pw",
	target: "/run/secrets/pw",
	uid: 0,
	gid: 0,
	mode: 0o444,
	templating: false,
};

/** Two tasks that use the secret's first version, and a finished one kept. */
function open(): Little {
	const little = new Little(2);
	little.commit([{ kind: "put-material", material: material(1) }]);
	little.create("web", { replicas: 2 });
	little.update("web", (spec) => ({
		...spec,
		template: { ...spec.template, container: { ...spec.template.container, files: [file] } },
		update: { ...spec.update, failureAction: "rollback", monitorMs: 1_000 },
	}));
	little.settle();
	return little;
}

const kept = (little: Little) =>
	little.facts.materials.get(pw)?.versions.map(({ number }) => number);

/** As the door does it: the new version and who uses it, in one commit. */
function rotate(little: Little, ...numbers: [number, ...number[]]): void {
	little.commit([{ kind: "put-material", material: material(...numbers) }]);
	const last = numbers[numbers.length - 1] ?? 0;
	little.update("web", (spec) => withContent(spec, pw, version(last)));
}
const running = (little: Little) =>
	little
		.running("web")
		.map((task) => little.facts.template(task.service, task.templateVersion))
		.flatMap((template) => (template ? filesOf(template.template) : []))
		.map((each) => each.version);

test("a version stays while the service can be rolled back to it, and goes when nothing names it", () => {
	const little = open();
	rotate(little, 1, 2);
	little.settle();
	expect([running(little), kept(little)]).toEqual([
		[2, 2],
		[1, 2],
	]);
	for (let round = 3; round <= 9; round++) {
		rotate(little, ...((kept(little) ?? [1]) as [number, ...number[]]), round);
		little.settle();
		expect(check(little.facts)).toEqual([]);
	}
	const versions = kept(little) ?? [];
	expect(versions.slice(-2)).toEqual([8, 9]);
	// Only what finished tasks are still shown with, besides.
	expect(versions).not.toContain(1);
	little.remove("web");
	little.settle();
	expect(kept(little)).toEqual([9]);
});

test("an update that fails goes back to the very content before", () => {
	const little = open();
	little.fate = (task) => (task.templateVersion > 2 ? "failed" : undefined);
	rotate(little, 1, 2);
	little.settle(60_000);
	expect(little.service("web").updateStatus?.state).toBe("rollback_completed");
	expect([running(little), kept(little)]).toEqual([
		[1, 1],
		[1, 2],
	]);
	expect(check(little.facts)).toEqual([]);
});

test("a plan of one service forgets what the plan of all would", () => {
	const little = open();
	little.commit([{ kind: "put-material", material: material(1, 2, 3) }], {
		services: new Set(),
		nodes: new Set(),
	});
	expect(kept(little)).toEqual([1, 3]);
});

test("what a service uses and is not there is a complaint", () => {
	const little = open();
	little.facts.apply({ kind: "put-material", material: material(2) });
	expect(check(little.facts).map(({ what }) => what)).toEqual(["web lacks version 1 of secret pw"]);
});
