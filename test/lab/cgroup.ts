// Control groups of the lab's nodes, in v1 (one tree per controller) and v2.
//
// /skein-lab/LAB/NODE in every tree. The kernel removes a dead node's processes
// but not its groups: that is left to removeGroups, here and in sweep.ts.

import {
	existsSync,
	mkdirSync,
	readdirSync,
	readFileSync,
	rmdirSync,
	writeFileSync,
} from "node:fs";
import { join } from "node:path";

const top = "skein-lab";

/** Makes a node's groups and returns them, one per tree. */
export function makeGroups(lab: string, node: string): string[] {
	return trees().map((tree) => {
		let path = tree;
		for (const part of [top, lab, node]) {
			passControllersOn(path);
			path = join(path, part);
			// Another lab may be at the same step: each does the whole of it.
			mkdirSync(path, { recursive: true });
			inheritCpuset(path);
		}
		return path;
	});
}

/**
 * Where a process that enters a running node belongs. In v2 the node's boot moved
 * its members to a leaf (named as systemd does), because a group with children has no members (init.sh).
 */
export function joinGroups(groups: readonly string[]): string[] {
	return groups.map((group) =>
		existsSync(join(group, "init.scope")) ? join(group, "init.scope") : group,
	);
}

/** Stops or resumes every process of a node at once. */
export function freeze(groups: readonly string[], frozen: boolean): void {
	const freezers = groups.flatMap(freezerOf);
	// Where both versions are mounted, either one is enough, and v1 has the controllers.
	const [freezer] = freezers.sort((a, b) => Number(b.v1) - Number(a.v1));
	if (!freezer) throw new Error("no freezer among the control groups");
	writeFileSync(freezer.path, frozen ? freezer.stop : freezer.go);
}

/**
 * Removes the groups of a lab, or of one of its nodes. False if any is still in
 * use: a killed process that was frozen dies only once it has been thawed.
 */
export function removeGroups(lab: string, node = ""): boolean {
	return trees()
		.map((tree) => removeTree(join(tree, top, lab, node)))
		.every((gone) => gone);
}

/** Names of the labs that have groups. */
export function labsWithGroups(): string[] {
	const names = trees().flatMap((tree) => directories(join(tree, top)));
	return [...new Set(names)];
}

/** Mount points of the control group trees. */
function trees(): string[] {
	return readFileSync("/proc/self/mounts", "utf8")
		.split("\n")
		.map((line) => line.split(" "))
		.filter(
			([, point = "", type]) => type?.startsWith("cgroup") && point.startsWith("/sys/fs/cgroup"),
		)
		.map(([, point = ""]) => point);
}

/** v2: children have a controller only if their parent passes it on. */
function passControllersOn(path: string): void {
	const file = join(path, "cgroup.controllers");
	if (!existsSync(file)) return;
	const passed = readFileSync(join(path, "cgroup.subtree_control"), "utf8").trim().split(" ");
	for (const controller of readFileSync(file, "utf8").trim().split(" ")) {
		if (controller === "" || passed.includes(controller)) continue;
		try {
			writeFileSync(join(path, "cgroup.subtree_control"), `+${controller}`);
		} catch {
			// A controller that is not to be had here limits nothing, and no more than that.
		}
	}
}

/** v1: a new cpuset is empty and takes no process until it has been given something. */
function inheritCpuset(path: string): void {
	for (const file of ["cpuset.cpus", "cpuset.mems"]) {
		if (existsSync(join(path, "cgroup.controllers")) || !existsSync(join(path, file))) continue;
		if (readFileSync(join(path, file), "utf8").trim() !== "") continue;
		writeFileSync(join(path, file), readFileSync(join(path, "..", file), "utf8"));
	}
}

function removeTree(path: string): boolean {
	for (const child of directories(path)) removeTree(join(path, child));
	try {
		for (const freezer of freezerOf(path)) writeFileSync(freezer.path, freezer.go);
		rmdirSync(path);
	} catch {
		return !existsSync(path);
	}
	return true;
}

function freezerOf(group: string) {
	const v1 = { v1: true, path: join(group, "freezer.state"), stop: "FROZEN", go: "THAWED" };
	const v2 = { v1: false, path: join(group, "cgroup.freeze"), stop: "1", go: "0" };
	return [v1, v2].filter(({ path }) => existsSync(path));
}

function directories(path: string): string[] {
	if (!existsSync(path)) return [];
	return readdirSync(path, { withFileTypes: true })
		.filter((entry) => entry.isDirectory())
		.map((entry) => entry.name);
}
