// Images, and what becomes of their containers: the name says it, to the engine that runs them and to the user who
// mends what cannot work.

import { isJob, type ServiceSpec } from "../../model/service.ts";
import type { Dice } from "./random.ts";

/**
 * `web` runs. `crashing` ends badly soon after its start. `sick` never passes a health check, and runs where there is
 * none. `work` ends by itself, mostly well.
 */
type Behaviour = "web" | "crashing" | "sick" | "work";

/** By digest, as the door resolves them. */
const image = (behaviour: Behaviour, dice: Dice) => `${behaviour}@sha256:${dice.between(1, 99)}`;

export function goodImage(dice: Dice, { mode }: Pick<ServiceSpec, "mode">): string {
	return image(isJob(mode) ? "work" : "web", dice);
}

export function badImage(dice: Dice, { mode }: Pick<ServiceSpec, "mode">): string {
	return image(isJob(mode) ? "crashing" : dice.pick(["crashing", "sick"] as const), dice);
}

export function behaviourOf(name: string): Behaviour {
	return name.split("@")[0] as Behaviour;
}

/** No container of it is ever up for long. */
export function isHopeless({ template }: Pick<ServiceSpec, "template">): boolean {
	const behaviour = behaviourOf(template.container.image);
	return (
		behaviour === "crashing" || (behaviour === "sick" && template.container.healthcheck !== null)
	);
}
