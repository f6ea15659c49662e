// Secrets and configs between Docker's JSON and ours. The content travels apart from the rest: what is kept as the
// user's document has none.

import { z } from "zod";
import { invalid } from "../../../model/errors.ts";
import type { Material, MaterialKind } from "../../../model/material.ts";
import type { Document } from "../../../model/service.ts";
import { fromBase64, toBase64 } from "../../accounts/base64.ts";
import { badArgument, unknownFault } from "../errors.ts";
import { timestamp } from "./time.ts";

const text = z.string();
const driver = z.looseObject({ Name: text, Options: z.record(text, text) }).partial();

export const materialSchema = z
	.looseObject({
		Name: text,
		Labels: z.record(text, text),
		Data: text,
		Driver: driver,
		Templating: driver,
	})
	.partial();

export type MaterialDocument = z.infer<typeof materialSchema>;

export interface ReadMaterial {
	readonly name: string;
	readonly labels: Readonly<Record<string, string>>;
	readonly templating: boolean;
	readonly document: Document;
	/** Undefined where the request says nothing of it. */
	readonly content: Uint8Array | undefined;
}

export function fromEngine(kind: MaterialKind, asked: MaterialDocument): ReadMaterial {
	const { Data: data, ...rest } = asked;
	if (asked.Driver?.Name) {
		throw unknownFault(
			`plugin ${JSON.stringify(asked.Driver.Name)} not found: secrets come from no driver here, leave --driver out`,
		);
	}
	const content = data === undefined ? undefined : decoded(data);
	const { Name: name = "", Labels: labels = {} } = asked;
	checkName(name);
	return {
		name,
		labels,
		templating: isTemplate(kind, asked.Templating?.Name ?? ""),
		document: { ...rest, Name: name, Labels: labels },
		content,
	};
}

const nameForm = /^[a-zA-Z0-9]+(?:[a-zA-Z0-9-_.]*[a-zA-Z0-9])?$/;

function checkName(name: string): void {
	if (name === "") throw badArgument("name must be provided");
	if (name.length > 64 || !nameForm.test(name)) {
		throw badArgument(
			"invalid name, only 64 [a-zA-Z0-9-_.] characters allowed, and the start and end character must be [a-zA-Z0-9]",
		);
	}
}

function isTemplate(kind: MaterialKind, name: string): boolean {
	if (name === "" || name === "golang") return name === "golang";
	throw badArgument(
		`Templating: unknown driver ${JSON.stringify(name)}: a ${kind} is a template of golang, or none`,
	);
}

const limitBytes: Readonly<Record<MaterialKind, number>> = { secret: 512_000, config: 1_024_000 };

export function checkContent(kind: MaterialKind, content: Uint8Array): void {
	if (content.length > 0 && content.length < limitBytes[kind]) return;
	throw badArgument(`${kind} data must be larger than 0 and less than ${limitBytes[kind]} bytes`);
}

/** In the words of Go's decoder, which skips line ends. What was sent is never repeated. */
function decoded(data: string): Uint8Array {
	const stray = /[^A-Za-z0-9+/=\r\n]/.exec(data);
	if (stray) throw invalid(`illegal base64 data at input byte ${stray.index}`);
	const packed = data.replaceAll(/[\r\n]/g, "");
	const padding = /^[^=]*(={0,2})$/.exec(packed);
	if (!padding || packed.length % 4 !== 0) {
		throw invalid(`illegal base64 data at input byte ${firstBad(packed)}`);
	}
	return fromBase64(packed);
}

function firstBad(packed: string): number {
	const padded = packed.indexOf("=");
	return padded < 0 ? packed.length - (packed.length % 4) : padded;
}

/** Secrets never show what they say. */
export function toEngine(material: Material, content?: Uint8Array): Document {
	const spec = material.document as MaterialDocument;
	return {
		ID: material.id,
		Version: { Index: material.specVersion },
		CreatedAt: timestamp(material.createdMs),
		UpdatedAt: timestamp(material.updatedMs),
		Spec: content && material.kind === "config" ? { ...spec, Data: toBase64(content) } : spec,
	};
}
