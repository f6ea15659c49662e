// What a compose file out of a fork may say: no more than what concerns its own stack. Pure.
//
// Whoever may push decides all that `docker stack deploy` can say, folders of the nodes among it; whoever may open a pull
// request does not. So this lists what is harmless, and whatever Docker comes to know besides is refused.

import { invalid } from "../../model/errors.ts";
import { imageHost } from "../../model/image.ts";
import type { Document } from "../../model/service.ts";
import type { ReportedStack } from "../../model/stack.ts";

/** Throws a `Refusal` that names the field. */
export function refuseReach(stack: string, told: ReportedStack): void {
	const own = (kind: "networks" | "secrets" | "configs") => {
		const names = told[kind].map((each) => `${each["Name"]}`);
		const stray = names.find((name) => !name.startsWith(`${stack}_`));
		if (stray === undefined) return new Set(names);
		throw invalid(`compose: ${kind}: ${stray}: leave its name out${because}`);
	};
	const [networks, secrets, configs] = [own("networks"), own("secrets"), own("configs")];
	const images = new Set(Object.values(told.images));
	for (const each of told.networks) check(`network ${each["Name"]}`, each, network);
	const mount: Rule = {
		Type: isOneOf("volume", "tmpfs"),
		Source: (value) => value === "" || `${value}`.startsWith(`${stack}_`),
		Target: any,
		ReadOnly: any,
		Consistency: any,
		VolumeOptions: { NoCopy: any, Labels: any },
		TmpfsOptions: any,
	};
	const service: Rule = {
		Name: any,
		Labels: any,
		TaskTemplate: {
			ContainerSpec: {
				...container,
				Image: (value) => images.has(`${value}`) || !`${value}`.startsWith(`${imageHost}/`),
				Mounts: [mount],
				Secrets: [{ File: any, SecretName: (value) => secrets.has(`${value}`) }],
				Configs: [{ File: any, ConfigName: (value) => configs.has(`${value}`) }],
			},
			Resources: any,
			RestartPolicy: any,
			Placement: any,
			Networks: [{ Target: (value) => networks.has(`${value}`), Aliases: any }],
			ForceUpdate: any,
			Runtime: isOneOf("container"),
		},
		Mode: any,
		UpdateConfig: any,
		RollbackConfig: any,
		EndpointSpec: any,
	};
	for (const each of told.services) check(`service ${each["Name"]}`, each, service);
}

/** Labels that others act on, such as a reverse proxy, are left out: it would lead another's visitors here. */
export function withoutLabels(service: Document): Document {
	const template = service["TaskTemplate"] as { readonly ContainerSpec?: Document } | undefined;
	const spec = template?.ContainerSpec;
	return {
		...service,
		Labels: dockers(service["Labels"]),
		...(spec && {
			TaskTemplate: { ...template, ContainerSpec: { ...spec, Labels: dockers(spec["Labels"]) } },
		}),
	};
}

const dockers = (labels: unknown) =>
	Object.fromEntries(
		Object.entries(labels ?? {}).filter(([name]) => name.startsWith("com.docker.stack.")),
	);

const because = ": a pull request out of a fork has what is its own stack's and no more";

/** A value that may be; an object of those that may be; a list of such. */
type Rule = ((value: unknown) => boolean) | { readonly [field: string]: Rule } | readonly [Rule];

const any = () => true;
const isOneOf =
	(...values: readonly string[]) =>
	(value: unknown) =>
		values.includes(`${value}`);

const network: Rule = {
	Name: any,
	Driver: isOneOf("overlay"),
	CheckDuplicate: any,
	Internal: any,
	Options: any,
	Labels: any,
};

const container = {
	Labels: any,
	Command: any,
	Args: any,
	Hostname: any,
	Env: any,
	Dir: any,
	User: any,
	Groups: any,
	Init: any,
	StopSignal: any,
	TTY: any,
	OpenStdin: any,
	ReadOnly: any,
	StopGracePeriod: any,
	Healthcheck: any,
	Hosts: any,
	DNSConfig: any,
	CapabilityDrop: any,
	Ulimits: any,
} as const;

function check(at: string, value: unknown, rule: Rule): void {
	if (isEmpty(value)) return;
	if (typeof rule === "function") {
		if (!rule(value)) throw invalid(`compose: ${at}: ${value} may not be${because}`);
		return;
	}
	if (isList(rule)) {
		for (const each of value as readonly unknown[]) check(at, each, rule[0]);
		return;
	}
	for (const [field, each] of Object.entries(value as Document)) {
		const known = Object.hasOwn(rule, field) ? rule[field] : undefined;
		if (known) check(`${at}.${field}`, each, known);
		else if (!isEmpty(each)) throw invalid(`compose: ${at}.${field}: leave it out${because}`);
	}
}

const isList = (rule: Rule): rule is readonly [Rule] => Array.isArray(rule);

/** As Docker's command line sends what nobody said. */
function isEmpty(value: unknown): boolean {
	if (typeof value !== "object" || value === null) return !value;
	return Object.values(value).every(isEmpty);
}
