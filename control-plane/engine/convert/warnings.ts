// What a spec asks for that we keep and do not act on: named, so that nobody waits for it.

import type { ServiceDocument } from "./document.ts";

export function warningsOf(document: ServiceDocument, unknown: readonly string[]): string[] {
	const found = ignored
		.filter(([, asks]) => asks(document))
		.map(([name, , instead]) => `${name} is kept in the spec but has no effect here: ${instead}`);
	const strange = unknown.map(
		(path) => `unknown field ${path} is kept in the spec but has no effect`,
	);
	return [...found, ...strange];
}

const container = (document: ServiceDocument) => document.TaskTemplate?.ContainerSpec;

/** The field, whether the spec uses it, and what to do instead. */
const ignored: readonly (readonly [
	name: string,
	asks: (document: ServiceDocument) => boolean,
	instead: string,
])[] = [
	[
		"ContainerSpec.Isolation",
		(document) => !["", "default"].includes(container(document)?.Isolation ?? ""),
		"it is a matter of Windows",
	],
	[
		"RestartPolicy.Condition any",
		({ Mode, TaskTemplate }) =>
			Boolean(Mode?.ReplicatedJob ?? Mode?.GlobalJob) &&
			TaskTemplate?.RestartPolicy?.Condition === "any",
		"what a job completed is not run again, so that it means on-failure",
	],
	[
		"Privileges.CredentialSpec",
		(document) => Boolean(container(document)?.Privileges?.CredentialSpec),
		"it is a matter of Windows",
	],
	[
		"Privileges.SELinuxContext",
		(document) => Boolean(container(document)?.Privileges?.SELinuxContext),
		"the node's own default applies",
	],
	[
		"Privileges.Seccomp",
		(document) => Boolean(container(document)?.Privileges?.Seccomp),
		"the engine's own profile applies",
	],
	[
		"Privileges.AppArmor",
		(document) => Boolean(container(document)?.Privileges?.AppArmor),
		"the engine's own profile applies",
	],
	[
		"Healthcheck.StartInterval",
		(document) => Boolean(container(document)?.Healthcheck?.StartInterval),
		"checks run at Healthcheck.Interval from the start",
	],
	[
		"Networks[].DriverOpts",
		(document) =>
			[...(document.TaskTemplate?.Networks ?? []), ...(document.Networks ?? [])].some(
				(network) => Object.keys(network.DriverOpts ?? {}).length > 0,
			),
		"overlays take no options per service",
	],
	[
		"Mounts[].VolumeOptions.Subpath",
		(document) =>
			Boolean(container(document)?.Mounts?.some((mount) => mount.VolumeOptions?.Subpath)),
		"the whole volume is mounted",
	],
	[
		"Mounts[].BindOptions",
		(document) =>
			Boolean(
				container(document)?.Mounts?.some(
					({ BindOptions: bind }) =>
						bind?.NonRecursive ||
						bind?.CreateMountpoint ||
						bind?.ReadOnlyNonRecursive ||
						bind?.ReadOnlyForceRecursive,
				),
			),
		"of its fields only Propagation is passed on",
	],
	[
		"Mounts[].Consistency",
		(document) =>
			Boolean(
				container(document)?.Mounts?.some(
					({ Consistency: consistency = "" }) => !["", "default"].includes(consistency),
				),
			),
		"it is a matter of Docker Desktop",
	],
	[
		"Configs[].Runtime",
		(document) => Boolean(container(document)?.Configs?.some((config) => config.Runtime)),
		"it is a matter of Windows; give the config a File",
	],
	[
		"Mounts[].TmpfsOptions.Options",
		(document) =>
			Boolean(
				container(document)?.Mounts?.some(
					(mount) => (mount.TmpfsOptions?.Options ?? []).length > 0,
				),
			),
		"only size and mode are passed on",
	],
];
