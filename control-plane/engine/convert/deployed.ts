// What a deployment makes of a service's document: the same words with another image, and the job that runs before.

import type { ServiceDocument } from "./document.ts";

export interface Deployed {
	readonly name: string;
	readonly image: string;
	/** Over the document's own of the same names. */
	readonly variables: Readonly<Record<string, string>>;
	readonly labels: Readonly<Record<string, string>>;
}

export function deployedDocument(
	base: ServiceDocument,
	{ name, image, variables, labels }: Deployed,
): ServiceDocument {
	const { TaskTemplate: template } = base;
	const env = template?.ContainerSpec?.Env ?? [];
	const kept = env.filter((each) => !Object.hasOwn(variables, each.split("=")[0] ?? ""));
	const ours = Object.entries(variables).map(([key, value]) => `${key}=${value}`);
	return {
		...base,
		Name: name,
		Labels: { ...base.Labels, ...labels },
		TaskTemplate: {
			...template,
			ContainerSpec: { ...template?.ContainerSpec, Image: image, Env: [...kept, ...ours] },
		},
	};
}

/** One container of that service, with all that it has but its ports, run to its end. */
export function jobDocument(
	{ TaskTemplate: template }: ServiceDocument,
	{
		name,
		labels,
		command,
	}: Pick<Deployed, "name" | "labels"> & { readonly command: readonly string[] },
): ServiceDocument {
	return {
		Name: name,
		Labels: { ...labels },
		TaskTemplate: {
			...template,
			ContainerSpec: {
				...template?.ContainerSpec,
				Command: [...command],
				Args: [],
				Healthcheck: { Test: ["NONE"] },
			},
			RestartPolicy: { Condition: "none" },
		},
		Mode: { ReplicatedJob: { MaxConcurrent: 1, TotalCompletions: 1 } },
	};
}
