// What goes wrong, and how often: one thing at a time, each of which ends in its own time, 25 seconds at most.

import type { Clock } from "./clock.ts";
import type { ControlPlane } from "./control-plane.ts";
import type { Machine } from "./machine.ts";
import type { Network } from "./network.ts";
import type { Dice } from "./random.ts";

export interface FaultWorld {
	readonly dice: Dice;
	readonly clock: Clock;
	readonly machines: readonly Machine[];
	readonly plane: ControlPlane;
	readonly network: Network;
	/** The whole control plane is silent from now on, until what it returns is called. */
	silence(): () => void;
	/** The control plane could hear everybody from now on. */
	returned(): void;
	/** One machine of a life may be lost for good. */
	mayDie(machine: Machine): boolean;
}

export interface Fault {
	/** What is counted. */
	readonly kind: string;
	readonly words: string;
	/** How long it lasts. */
	readonly ms: number;
}

const faults: readonly {
	readonly weight: number;
	/** Undefined when it cannot happen now. */
	strike(world: FaultWorld, victim: Machine): Fault | undefined;
}[] = [
	{
		weight: 25,
		strike({ dice }, victim) {
			victim.breakContainer(dice.pick(["exit", "exit", "unhealthy"]));
			return fault("a container breaks", victim, 0);
		},
	},
	{
		weight: 14,
		strike({ dice }, victim) {
			const downMs = dice.between(100, 3000);
			victim.restartAgent(downMs);
			return fault("an agent is killed", victim, downMs);
		},
	},
	{
		weight: 6,
		strike({ dice }, victim) {
			const downMs = dice.between(1000, 8000);
			victim.restartEngine(downMs);
			return fault("an engine is restarted", victim, downMs);
		},
	},
	{
		weight: 10,
		strike({ dice }, victim) {
			const downMs = dice.chance(0.3) ? dice.between(8000, 20_000) : dice.between(1000, 8000);
			victim.reboot(downMs);
			return fault("a machine reboots", victim, downMs);
		},
	},
	{
		weight: 14,
		strike({ dice, network }, victim) {
			const ms = dice.chance(0.4) ? dice.between(8000, 25_000) : dice.between(500, 8000);
			network.cutFromPlane(victim.name, ms);
			return fault("a machine is cut off from the control plane", victim, ms);
		},
	},
	{
		weight: 8,
		strike({ dice, network }, victim) {
			const ms = dice.chance(0.4) ? dice.between(8000, 25_000) : dice.between(500, 8000);
			network.cutFromPeers(victim.name, ms);
			return fault("a machine is cut off from its peers", victim, ms);
		},
	},
	{
		weight: 8,
		strike({ dice, network }, victim) {
			const ms = dice.chance(0.4) ? dice.between(8000, 25_000) : dice.between(500, 8000);
			network.cutFromPeers(victim.name, ms);
			network.cutFromPlane(victim.name, ms);
			return fault("a machine is cut off from everybody", victim, ms);
		},
	},
	{
		weight: 20,
		strike({ dice, plane }) {
			const downMs = dice.between(100, 10_000);
			if (!plane.isUp()) return undefined;
			plane.kill(downMs);
			return fault("a process of the control plane is killed", null, downMs);
		},
	},
	{ weight: 14, strike: outage },
	{
		weight: 2,
		strike({ mayDie }, victim) {
			if (!mayDie(victim)) return undefined;
			victim.destroy();
			return fault("a machine is lost for good", victim, 0);
		},
	},
];

function outage(world: FaultWorld): Fault | undefined {
	const { dice, clock, plane, machines } = world;
	if (!plane.isUp()) return undefined;
	const downMs = dice.chance(0.3) ? dice.between(20_001, 25_000) : dice.between(200, 6000);
	const endSilence = world.silence();
	plane.crash();
	if (downMs > 20_000) {
		// Long enough to boot from the ledger and to have everything back before anybody is there to tell.
		for (const each of machines) {
			const turn = dice.next();
			const strikeMs = dice.between(11_000, 12_000);
			if (turn < 0.4) clock.after(strikeMs, () => each.reboot(500));
			else if (turn < 0.7) clock.after(strikeMs, () => each.restartAgent(500));
		}
	}
	clock.after(downMs, () => {
		endSilence();
		world.returned();
		plane.start();
	});
	return fault("the whole control plane is killed", null, downMs);
}

const fault = (kind: string, victim: Machine | null, ms: number): Fault => ({
	kind,
	words: `${kind}${victim ? `: ${victim.name}` : ""}, ${ms} ms`,
	ms,
});

/** Undefined when what should have happened cannot just now. */
export function nextFault(world: FaultWorld): Fault | undefined {
	const { dice, machines } = world;
	const victim = dice.pick(machines);
	let turn = dice.next() * faults.reduce((sum, { weight }) => sum + weight, 0);
	const struck = faults.find(({ weight }) => {
		turn -= weight;
		return turn < 0;
	});
	return struck?.strike(world, victim);
}
