// Secrets and configs: named contents that tasks are given as files. One shape, since only the door tells them apart:
// it never shows a secret's content again.
//
// The contents themselves are no part of a snapshot. They lie sealed beside it, by material and version, and no plan
// reads them.

import type { MaterialId } from "./id.ts";
import type { Document, ServiceSpec, TaskTemplate } from "./service.ts";

export type MaterialKind = "secret" | "config";

export interface Material {
	readonly kind: MaterialKind;
	readonly id: MaterialId;
	readonly name: string;
	readonly labels: Readonly<Record<string, string>>;
	/** Oldest first; the last is what a service gets that begins to use it. Older ones stay while a template names them. */
	readonly versions: readonly [ContentVersion, ...ContentVersion[]];
	/** Counts updates: what clients send back as `version`. */
	readonly specVersion: number;
	/** The user's words without the content, opaque to all but the Engine API's door. */
	readonly document: Document;
	readonly createdMs: number;
	readonly updatedMs: number;
}

/** What a version says never changes: another content, or another way to read it, is another version. */
export interface ContentVersion {
	readonly number: number;
	/** Expanded for each task, as its environment is. */
	readonly templating: boolean;
	/** Of the content, sealed: what counts against a limit. Absent on those from before there were limits. */
	readonly bytes?: number;
	readonly createdMs: number;
}

/** Names one content for ever. */
export interface ContentName {
	readonly material: MaterialId;
	readonly version: number;
}

/** As it lies in the database. */
export interface SealedContent extends ContentName {
	readonly sealed: string;
}

/** As it goes to a node that needs it, in base64. */
export interface DeliveredContent extends ContentName {
	readonly data: string;
}

/** A content as a task's file: the exact version, so that a task of an older one is dirty and a rollback finds it. */
export interface FileReference extends ContentName {
	readonly kind: MaterialKind;
	readonly name: string;
	/** In the container, absolute. */
	readonly target: string;
	readonly uid: number;
	readonly gid: number;
	readonly mode: number;
	readonly templating: boolean;
}

export function newestOf({ versions }: Pick<Material, "versions">): ContentVersion {
	return versions[versions.length - 1] ?? versions[0];
}

export const filesOf = ({ container }: TaskTemplate): readonly FileReference[] =>
	container.files ?? [];

export const contentKey = ({ material, version }: ContentName) => `${material} ${version}`;

/** The same spec with another version of one material, or the very same object where it uses none. */
export function withContent(
	spec: ServiceSpec,
	material: MaterialId,
	{ number, templating }: ContentVersion,
): ServiceSpec {
	const files = filesOf(spec.template);
	const stale = files.some((file) => file.material === material && file.version !== number);
	if (!stale) return spec;
	const next = files.map((file) =>
		file.material === material ? { ...file, version: number, templating } : file,
	);
	const container = { ...spec.template.container, files: next };
	return { ...spec, template: { ...spec.template, container } };
}
