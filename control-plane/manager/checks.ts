// Every rule that a sound snapshot obeys. Tests, the simulator and whoever doubts share it.
//
// What needs history (an address that changed, a state that fell back) is for those who keep one.

import { contains, parseAddress, parseRange, size } from "../../model/cidr.ts";
import { type Lease, type Network, slotHolder } from "../../model/network.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { isMeantToRun, slotKey, type Task } from "../../model/task.ts";
import { isBefore, isTerminal } from "../../model/taskstate.ts";
import { subnetClash } from "./allocator/ipam.ts";
import { ingressPorts } from "./allocator/ports.ts";
import { compiler } from "./assign.ts";
import { lackingContents } from "./contents.ts";

export interface Complaint {
	/** Which rule. */
	readonly rule: string;
	/** What breaks it, in words. */
	readonly what: string;
}

export function check(snapshot: Snapshot): Complaint[] {
	return [
		...checkNetworks(snapshot),
		...checkLeases(snapshot),
		...checkPorts(snapshot),
		...checkTasks(snapshot),
		...checkTables(snapshot),
		...checkMaterials(snapshot),
	];
}

function* checkNetworks(snapshot: Snapshot): Generator<Complaint> {
	const byVni = new Map<number, Network>();
	for (const network of snapshot.networks.values()) {
		if (network.vni === 0) continue;
		const other = byVni.get(network.vni);
		if (other) {
			yield {
				rule: "a VNI is one network's",
				what: `${other.name} and ${network.name} have ${network.vni}`,
			};
		}
		byVni.set(network.vni, network);
		if (network.subnet === "") continue;
		// A node's routes come and go; only at the choice must there be none in the way.
		const { networks, cluster } = snapshot;
		const clash = subnetClash({ networks, cluster, nodes: new Map() }, network.subnet, network.id);
		if (clash) yield { rule: "subnets do not overlap", what: `${network.name}: ${clash}` };
	}
}

function* checkLeases(snapshot: Snapshot): Generator<Complaint> {
	for (const network of snapshot.networks.values()) {
		const subnet = parseRange(network.subnet);
		const holders = new Set<string>();
		const blocks: { readonly first: number; readonly last: number; readonly lease: Lease }[] = [];
		for (const lease of snapshot.leasesOfNetwork(network.id).values()) {
			const first = parseAddress(lease.address);
			if (first === undefined || !subnet || !contains(subnet, first)) {
				yield {
					rule: "a lease lies in its network",
					what: `${lease.holder} has ${lease.address} of ${network.name} (${network.subnet})`,
				};
				continue;
			}
			blocks.push({ first, last: first + size({ base: first, prefix: lease.prefix }) - 1, lease });
			if (lease.releasedMs > 0) continue;
			if (holders.has(lease.holder)) {
				yield {
					rule: "a holder has one lease in a network",
					what: `${lease.holder} has two in ${network.name}`,
				};
			}
			holders.add(lease.holder);
		}
		blocks.sort((a, b) => a.first - b.first);
		for (const [index, block] of blocks.entries()) {
			const next = blocks[index + 1];
			if (next && next.first <= block.last) {
				yield {
					rule: "an address is given once",
					what: `${next.lease.address} of ${network.name} is ${block.lease.holder}'s and ${next.lease.holder}'s`,
				};
			}
		}
	}
}

function* checkPorts(snapshot: Snapshot): Generator<Complaint> {
	const owners = new Map<string, string>();
	for (const service of snapshot.services.values()) {
		if (service.removing) continue;
		for (const { protocol, published } of ingressPorts(service)) {
			if (published === 0) continue;
			const key = `${protocol}/${published}`;
			const other = owners.get(key);
			if (other) {
				yield {
					rule: "a port is published once",
					what: `${other} and ${service.spec.name} publish ${key}`,
				};
			}
			owners.set(key, service.spec.name);
		}
	}
}

function* checkTasks(snapshot: Snapshot): Generator<Complaint> {
	const newest = new Map<string, Task>();
	const owners = new Map<string, Task>();
	for (const task of snapshot.tasks.values()) {
		if (isTerminal(task.status.state)) continue;
		yield* checkTask(snapshot, task);
		if (task.desired !== "running") continue;
		for (const [kind, what] of Object.entries(task.genericResources ?? {})) {
			for (const name of typeof what === "number" ? [] : what) {
				const other = owners.get(`${task.node} ${kind} ${name}`);
				if (other) {
					yield {
						rule: "a generic resource is one task's",
						what: `${other.id} and ${task.id} both have ${kind} ${name}`,
					};
				}
				owners.set(`${task.node} ${kind} ${name}`, task);
			}
		}
		for (const { network, address } of task.attachments) {
			const key = `${slotKey(task)} ${network} ${address}`;
			const other = newest.get(key);
			if (other) {
				yield {
					rule: "two tasks never run at one address",
					what: `${other.id} and ${task.id} both run at ${address}`,
				};
			}
			newest.set(key, task);
		}
	}
}

function* checkTask(snapshot: Snapshot, task: Task): Generator<Complaint> {
	const { status } = task;
	if (!snapshot.services.has(task.service)) {
		yield { rule: "a task has a service", what: `${task.id} has none` };
	}
	if (!snapshot.template(task.service, task.templateVersion)) {
		yield { rule: "a task has its template", what: `${task.id} lacks ${task.templateVersion}` };
	}
	if (task.serving && !(task.desired === "running")) {
		yield { rule: "who serves is meant to run", what: `${task.id} is to be ${task.desired}` };
	}
	if (task.serving && isBefore(status.state, "running")) {
		yield { rule: "who serves has run", what: `${task.id} is ${status.state}` };
	}
	if (!isBefore(status.state, "assigned") && task.node === null) {
		yield { rule: "who is assigned has a node", what: `${task.id} has none` };
	}
	if (status.state === "pending" && isMeantToRun(task) && status.error === "") {
		yield { rule: "who waits says why", what: `${task.id} is pending without a reason` };
	}
	for (const { network, address } of task.attachments) {
		const lease = snapshot.leasesOfNetwork(network).get(address);
		if (!lease || lease.releasedMs > 0 || !lease.holder.startsWith(slotHolder(task))) {
			yield {
				rule: "a task lives at its slot's address",
				what: `${task.id} is at ${address}, which is ${lease?.holder ?? "nobody"}'s`,
			};
		}
	}
}

function* checkTables(snapshot: Snapshot): Generator<Complaint> {
	const compiled = compiler(snapshot);
	const [node] = snapshot.nodes.keys();
	if (node === undefined) return;
	for (const network of compiled.assign(node).networks) {
		const members = new Set(network.members.map(({ address }) => address));
		for (const endpoint of network.endpoints) {
			for (const backend of endpoint.backends) {
				if (!members.has(backend)) {
					yield {
						rule: "a backend is a member",
						what: `${endpoint.name} has ${backend} in ${network.name}`,
					};
				}
			}
		}
	}
}

function* checkMaterials(snapshot: Snapshot): Generator<Complaint> {
	const names = new Set<string>();
	for (const { kind, name, versions } of snapshot.materials.values()) {
		const key = `${kind} ${name}`;
		if (names.has(key)) yield { rule: "a secret's or config's name is its own", what: key };
		names.add(key);
		const numbers = versions.map(({ number }) => number);
		if (numbers.some((number, index) => index > 0 && number <= (numbers[index - 1] ?? 0))) {
			yield { rule: "versions of a content rise", what: `${key}: ${numbers.join(", ")}` };
		}
	}
	for (const { spec, previous, removing } of snapshot.services.values()) {
		if (removing) continue;
		for (const each of previous ? [spec, previous.spec] : [spec]) {
			for (const { kind, name, version } of lackingContents(snapshot, each)) {
				yield {
					rule: "what a service uses, or can be rolled back to, is there",
					what: `${spec.name} lacks version ${version} of ${kind} ${name}`,
				};
			}
		}
	}
}
