// The secrets and configs that a service's containers get as files, from Docker's references to them.
//
// A new reference is to the newest content. One that the service has already stays with the content it has: changing
// the number of replicas after a rollback must not bring back what was rolled back.

import {
	type FileReference,
	filesOf as filesIn,
	type Material,
	type MaterialKind,
	newestOf,
} from "../../../model/material.ts";
import type { Mount, ServiceSpec } from "../../../model/service.ts";
import { badArgument } from "../errors.ts";
import type { ContainerDocument } from "./document.ts";

/** By name and id, of which one may be empty. */
export type FindMaterial = (
	kind: MaterialKind,
	asked: { readonly id: string; readonly name: string },
) => Material | undefined;

export function filesOf(document: ContainerDocument, find: FindMaterial): FileReference[] {
	const secrets = (document.Secrets ?? []).map((each) =>
		asked("secret", each.SecretID, each.SecretName, each.File),
	);
	// A config with `Runtime` is none of the container's: Windows reads its credentials there.
	const configs = (document.Configs ?? [])
		.filter((each) => !each.Runtime)
		.map((each) => asked("config", each.ConfigID, each.ConfigName, each.File));
	// Some clients send them in another order each time, which says nothing.
	return [...resolved("secret", secrets, find), ...resolved("config", configs, find)].sort(
		(a, b) => (a.target < b.target ? -1 : 1),
	);
}

type FileDocument = NonNullable<NonNullable<ContainerDocument["Secrets"]>[number]["File"]>;

interface Asked {
	readonly id: string;
	readonly name: string;
	readonly file: FileDocument;
}

function asked(
	kind: MaterialKind,
	id = "",
	name = "",
	file: FileDocument | undefined = undefined,
): Asked {
	if (id === "" && name === "") throw badArgument(`malformed ${kind} reference`);
	if (!file?.Name) {
		throw badArgument(`malformed file ${kind} reference, invalid target file provided`);
	}
	return { id, name, file };
}

function resolved(kind: MaterialKind, all: readonly Asked[], find: FindMaterial): FileReference[] {
	const missing: string[] = [];
	const files: FileReference[] = [];
	const targets = new Map<string, string>();
	for (const each of all) {
		const material = find(kind, each);
		if (!material) {
			missing.push(each.name || each.id);
			continue;
		}
		const file = fileOf(kind, material, each.file);
		const other = targets.get(file.target);
		if (other !== undefined) {
			throw badArgument(
				`${kind} references '${other}' and '${file.name}' have a conflicting target: '${each.file.Name}'`,
			);
		}
		targets.set(file.target, file.name);
		files.push(file);
	}
	if (missing.length === 0) return files;
	throw badArgument(`${missing.length > 1 ? `${kind}s` : kind} not found: ${missing.join(", ")}`);
}

function fileOf(kind: MaterialKind, material: Material, file: FileDocument): FileReference {
	const { number, templating } = newestOf(material);
	const owner = (field: "UID" | "GID") => {
		const text = file[field] || "0";
		if (/^\d{1,10}$/.test(text)) return Number(text);
		throw badArgument(
			`${kind} ${material.name}: File.${field} ${JSON.stringify(text)} is no number: names are known in the image only`,
		);
	};
	return {
		kind,
		material: material.id,
		name: material.name,
		version: number,
		target: targetOf(kind, file.Name ?? ""),
		uid: owner("UID"),
		gid: owner("GID"),
		mode: (file.Mode ?? readableByAll) & 0o7777,
		templating,
	};
}

const readableByAll = 0o444;

function targetOf(kind: MaterialKind, name: string): string {
	if (name.startsWith("/")) return name;
	return kind === "secret" ? `/run/secrets/${name}` : `/${name}`;
}

export function refuseSharedTargets(
	files: readonly FileReference[],
	mounts: readonly Mount[],
): void {
	const targets = new Set(mounts.map(({ target }) => target));
	for (const { target } of files) {
		if (targets.has(target)) throw badArgument(`ContainerSpec: duplicate mount point: ${target}`);
		targets.add(target);
	}
}

/** The spec with the contents that the service has, and a word on each that is not the newest. `--force` takes those. */
export function withKeptContents(
	spec: ServiceSpec,
	before: ServiceSpec,
): { readonly spec: ServiceSpec; readonly warnings: readonly string[] } {
	const had = new Map(filesIn(before.template).map((file) => [`${file.material}`, file]));
	const isForced = spec.template.forceUpdate !== before.template.forceUpdate;
	const warnings = new Set<string>();
	const files = filesIn(spec.template).map((file) => {
		const kept = had.get(file.material);
		if (isForced || !kept || kept.version === file.version) return file;
		warnings.add(
			`${file.kind} ${file.name} stays with the content that the service was rolled back to: ` +
				"docker service update --force takes the newest",
		);
		return { ...file, version: kept.version, templating: kept.templating };
	});
	if (warnings.size === 0) return { spec, warnings: [] };
	const container = { ...spec.template.container, files };
	return { spec: { ...spec, template: { ...spec.template, container } }, warnings: [...warnings] };
}
