// A stack as the node that built it tells: checked in the words of the requests that its documents are, its secrets and
// configs sealed, and kept with the build.
//
// Contents are sealed here, since no plan can: a secret or config that says something else than before has a version more
// from now on, and services go over to it when the deployment rolls.

import { z } from "zod";
import type { Build } from "../../model/build.ts";
import type { Change } from "../../model/change.ts";
import { conflict, invalid } from "../../model/errors.ts";
import {
	type ContentVersion,
	contentKey,
	type Material,
	type MaterialKind,
	newestOf,
	type SealedContent,
} from "../../model/material.ts";
import type { Document } from "../../model/service.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { longestStackBytes, type Stack, type StackFile, stackLabel } from "../../model/stack.ts";
import type { ClusterDoor } from "../cluster.ts";
import { parseBody } from "../engine/body.ts";
import { serviceSchema } from "../engine/convert/document.ts";
import {
	checkContent,
	fromEngine as fromMaterial,
	materialSchema,
	type ReadMaterial,
} from "../engine/convert/material.ts";
import { fromEngine as fromNetwork, networkSchema } from "../engine/convert/network.ts";
import { warningsOf } from "../engine/convert/warnings.ts";
import { same } from "../manager/same.ts";
import { withFreePorts } from "./freeports.ts";
import { refuseReach, withoutLabels } from "./strangers.ts";

const document = z.record(z.string(), z.unknown());
const documents = z.array(document).max(200);
const strayImage = "no image of this cluster";
const stackSchema = z.strictObject({
	networks: documents,
	secrets: documents,
	configs: documents,
	services: documents.min(1, "there are none"),
	images: z.record(
		z.string().max(63),
		z.string().regex(/^[^\s@]+@sha256:[0-9a-f]{64}$/, strayImage),
	),
});

/** How often somebody else may change the same secret meanwhile. */
const mostTries = 5;

/** What of it has no effect, a sentence each. Throws a `Refusal`, which is what the build then fails for. */
export async function takeStack(
	door: ClusterDoor,
	build: Build,
	text: string,
): Promise<readonly string[]> {
	const { stack: order } = build;
	if (!order) throw invalid("compose: this build has no compose file");
	refuseCancelled(build);
	const told = read(text);
	refuseStrays(build, told.images);
	const networks = told.networks.map((each) => readNetwork(order.name, each));
	const services = told.services
		.map((each) => readService(order.name, each))
		.map((each) => (order.preview ? previewed(order.preview, each) : each));
	const given = (["secret", "config"] as const).flatMap((kind) =>
		told[`${kind}s`].map((each) => readMaterial(order.name, kind, each)),
	);
	if (order.preview?.isFork) refuseReach(order.name, told);
	const plain = {
		name: order.name,
		networks: networks.map(({ document }) => document),
		services: services.map(({ document }) => document),
		images: told.images,
		...(order.preview?.isFork && { isStrangers: true as const }),
	};
	const bytes = JSON.stringify(plain).length;
	if (bytes > longestStackBytes) {
		throw invalid(
			`compose: its services and networks take ${bytes} bytes, more than ${longestStackBytes}: make several applications of it`,
		);
	}
	for (let count = 1; ; count++) {
		const snapshot = await door.snapshot();
		const made: Sealed[] = [];
		for (const each of given) made.push(await sealed(door, snapshot, order.name, each));
		if (await kept(door, build, { ...plain, files: made.map(({ file }) => file) }, made)) {
			return [...networks, ...services].flatMap(({ warnings }) => warnings);
		}
		if (count === mostTries) {
			throw conflict("compose: somebody changes the same secrets and configs: deploy it again");
		}
	}
}

function read(text: string) {
	let value: unknown;
	try {
		value = JSON.parse(text);
	} catch (cause) {
		throw invalid("body: not JSON", { cause });
	}
	const result = stackSchema.safeParse(value);
	if (result.success) return result.data;
	const [issue] = result.error.issues;
	throw invalid(`compose: ${issue?.path.join(".")}: ${issue?.message}`);
}

/** What it built is named after the build's own; what it did not, it was told. */
function refuseStrays(
	{ image, stack }: Pick<Build, "image" | "stack">,
	images: Readonly<Record<string, string>>,
): void {
	const ours = `${image.slice(0, image.lastIndexOf(":"))}/`;
	const promoted = Object.values(stack?.images ?? {});
	for (const [service, each] of Object.entries(images)) {
		if (each.startsWith(ours) || promoted.includes(each)) continue;
		throw invalid(`compose: images.${service}: ${strayImage}`);
	}
}

/** In the words of whoever refuses it, after whose it is. */
function refused<Result>(what: string, work: () => Result): Result {
	try {
		return work();
	} catch (error) {
		if (!(error instanceof Error)) throw error;
		throw invalid(`compose: ${what}: ${error.message}`, { cause: error });
	}
}

interface Read {
	readonly document: Document;
	readonly warnings: readonly string[];
}

function readNetwork(stack: string, asked: Document): Read {
	return refused(`network ${asked["Name"]}`, () => {
		const { value } = parseBody(JSON.stringify(asked), networkSchema, "NetworkCreateRequest");
		const { labels, warning, name } = fromNetwork(value);
		checkOwner(stack, labels);
		return { document: value, warnings: warning ? [`network ${name}: ${warning}`] : [] };
	});
}

function readService(stack: string, asked: Document): Read {
	return refused(`service ${asked["Name"]}`, () => {
		const { value, unknown } = parseBody(JSON.stringify(asked), serviceSchema, "ServiceSpec");
		checkOwner(stack, value.Labels ?? {});
		if (!value.Name?.startsWith(`${stack}_`)) throw invalid(`its name begins with ${stack}_`);
		if (!value.TaskTemplate?.ContainerSpec?.Image) throw invalid("it has no image and no build");
		const warnings = warningsOf(value, unknown).map((each) => `service ${value.Name}: ${each}`);
		return { document: value, warnings };
	});
}

function previewed({ isFork }: { readonly isFork: boolean }, { document, warnings }: Read): Read {
	const freed = withFreePorts(document);
	return {
		document: isFork ? withoutLabels(freed.document) : freed.document,
		warnings: [...warnings, ...freed.warnings],
	};
}

/** Nobody would remove what a preview that is gone leaves behind. */
function refuseCancelled({ desired, stack }: Pick<Build, "desired" | "stack">): void {
	if (desired === "complete" || !stack?.preview) return;
	throw invalid("compose: this build was cancelled");
}

interface Given {
	readonly kind: MaterialKind;
	readonly read: ReadMaterial;
	readonly content: Uint8Array;
}

function readMaterial(stack: string, kind: MaterialKind, asked: Document): Given {
	return refused(`${kind} ${asked["Name"]}`, () => {
		const type = kind === "secret" ? "SecretSpec" : "ConfigSpec";
		const { value } = parseBody(JSON.stringify(asked), materialSchema, type);
		const material = fromMaterial(kind, value);
		checkOwner(stack, material.labels);
		const { content = new Uint8Array() } = material;
		checkContent(kind, content);
		return { kind, read: material, content };
	});
}

function checkOwner(stack: string, labels: Readonly<Record<string, string>>): void {
	if (labels[stackLabel] === stack) return;
	throw invalid(`it is none of the stack ${stack}`);
}

interface Sealed {
	readonly file: StackFile;
	/** What is to be written; undefined where nothing changes. */
	readonly next?: {
		/** As it was when the content was sealed; undefined for one that is new. */
		readonly known: Material | undefined;
		readonly read: ReadMaterial;
		readonly version: ContentVersion | undefined;
		readonly sealed: SealedContent | undefined;
	};
}

/** At a version that says just this, or a new one. */
async function sealed(
	{ contents }: ClusterDoor,
	snapshot: Snapshot,
	stack: string,
	{ kind, read: asked, content }: Given,
): Promise<Sealed> {
	const { name, templating } = asked;
	const known = [...snapshot.materials.values()].find(
		(each) => each.kind === kind && each.name === name,
	);
	if (known && known.labels[stackLabel] !== stack) {
		throw invalid(
			`compose: ${kind} ${name} is there already, and none of the stack ${stack}: name it otherwise, or say that it is external`,
		);
	}
	const fileOf = (material: Material["id"], version: number): StackFile => ({
		kind,
		name,
		material,
		version,
		templating,
	});
	if (known) {
		const names = known.versions.map(({ number }) => ({ material: known.id, version: number }));
		const there = await contents.read(names);
		const same = known.versions.findLast((version) => {
			const before = there.get(contentKey({ material: known.id, version: version.number }));
			return before && version.templating === templating && isSame(before, content);
		});
		if (same) {
			const file = fileOf(known.id, same.number);
			return isRelabelled(known, asked)
				? { file, next: { known, read: asked, version: undefined, sealed: undefined } }
				: { file };
		}
	}
	const id = known?.id ?? contents.newId();
	const number = known ? newestOf(known).number + 1 : 1;
	const sealedContent = await contents.seal({ material: id, version: number }, content);
	const bytes = sealedContent.sealed.length;
	const version: ContentVersion = { number, templating, bytes, createdMs: 0 };
	return { file: fileOf(id, number), next: { known, read: asked, version, sealed: sealedContent } };
}

const isRelabelled = (known: Material, { labels }: ReadMaterial) => !same(known.labels, labels);

const isSame = (a: Uint8Array, b: Uint8Array) =>
	a.length === b.length && a.every((byte, index) => byte === b[index]);

/** False where somebody else changed one of them since it was sealed. */
async function kept(
	door: ClusterDoor,
	{ id }: Build,
	stack: Stack,
	made: readonly Sealed[],
): Promise<boolean> {
	const { result } = await door.commit((snapshot, { nowMs }) => {
		const build = snapshot.builds.get(id);
		if (!build) throw invalid("compose: this build is gone");
		refuseCancelled(build);
		const changes: Change[] = [{ kind: "put-build", build: { ...build, made: stack } }];
		for (const { file, next } of made) {
			const known = snapshot.materials.get(file.material);
			const isThere = known?.versions.some(({ number }) => number === file.version) ?? false;
			if (!next) {
				if (!isThere) return { changes: [], result: false };
				continue;
			}
			const isTaken = [...snapshot.materials.values()].some(
				(each) => each.id !== file.material && each.kind === file.kind && each.name === file.name,
			);
			if (isTaken || known?.specVersion !== next.known?.specVersion) {
				return { changes: [], result: false };
			}
			const version = next.version && { ...next.version, createdMs: nowMs };
			const { name, labels, document: asked } = next.read;
			const material: Material | undefined = known
				? {
						...known,
						labels,
						document: asked,
						versions: version ? [...known.versions, version] : known.versions,
						specVersion: known.specVersion + 1,
						updatedMs: nowMs,
					}
				: version && {
						kind: file.kind,
						id: file.material,
						name,
						labels,
						versions: [version],
						specVersion: 1,
						document: asked,
						createdMs: nowMs,
						updatedMs: nowMs,
					};
			if (material) changes.push({ kind: "put-material", material });
			if (next.sealed) changes.push({ kind: "put-content", content: next.sealed });
		}
		return { changes, result: true };
	});
	return result;
}
