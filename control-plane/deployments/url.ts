// Where people find what was deployed: the environment's own words, with what only a deployment knows filled in.

import type { Application, Environment } from "../../model/application.ts";
import type { Deployment } from "../../model/deployment.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { parseUrl } from "../engine/address.ts";

type Words = Readonly<Record<string, (from: From) => string>>;

interface From {
	readonly snapshot: Snapshot;
	readonly application: Application;
	readonly environment: Environment;
	readonly deployment: Deployment;
}

const words: Words = {
	application: ({ application }) => application.spec.name,
	environment: ({ environment }) => environment.name,
	service: ({ environment }) => environment.service,
	branch: ({ deployment }) =>
		labelOf(/^refs\/(?:heads|tags)\/(.+)$/s.exec(deployment.ref)?.[1] ?? ""),
	commit: ({ deployment }) => deployment.commit.slice(0, 12),
	port: portOf,
};

const field = /\{([^{}]*)\}/g;

/** What is wrong with it; null where nothing is. */
export function urlComplaint(template: string): string | null {
	if (template === "") return null;
	const strange = [...template.matchAll(field)].find(
		([, name = ""]) => !Object.hasOwn(words, name),
	);
	if (strange) return `knows no ${strange[0]}: there are {${Object.keys(words).join("}, {")}}`;
	const example = template.replaceAll(field, "1");
	if (parseUrl(example) && /^https?:\/\//.test(template)) return null;
	return "must be https://… or http://…";
}

/** Empty where nobody said one, or while what it takes is not known: the port of a service that is not there yet. */
export function urlOf(from: From): string {
	const template = from.environment.url ?? "";
	const known = (name: string) => words[name]?.(from) ?? "";
	const isWhole = [...template.matchAll(field)].every(([, name = ""]) => known(name) !== "");
	return isWhole ? template.replaceAll(field, (_whole, name: string) => known(name)) : "";
}

/** As it may stand in a host's name. */
const labelOf = (name: string) =>
	name
		.toLowerCase()
		.replaceAll(/[^a-z0-9]+/g, "-")
		.slice(0, 40)
		.replaceAll(/^-+|-+$/g, "");

/** The first that its service publishes; of a compose file, any of its services. */
function portOf({ snapshot, environment, deployment }: From): string {
	const rolled = new Set(deployment.services?.map(({ service }) => service));
	const ports = [...snapshot.services.values()]
		.filter(({ removing }) => !removing)
		.filter(({ id, spec }) =>
			deployment.stack ? rolled.has(id) : spec.name === environment.service,
		)
		.toSorted((a, b) => (a.spec.name < b.spec.name ? -1 : 1))
		.flatMap((service) => service.ports);
	const [first] = ports.map(({ published }) => published).filter((port) => port > 0);
	return first === undefined ? "" : String(first);
}
