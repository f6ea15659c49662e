// Go templates in a spec, as far as Docker documents them for services, and what only we can fill in: addresses and
// published ports.
//
// Pure. A field that there is not is a reason to refuse, not an empty word: a container that starts with half of its
// configuration is harder to find than one that does not start. `{{.Task.Address}}` and its kin are docs/templates.md.

import type { NetworkAssignment, TaskAssignment } from "../../model/assignment.ts";
import { filesOf, type MaterialKind } from "../../model/material.ts";

/** What is known of the node and its networks, beyond the task. */
export interface TemplateSite {
	readonly node: {
		readonly id: string;
		readonly hostname: string;
		readonly os: string;
		readonly architecture: string;
		/** Where others reach the machine; empty when it is not known. */
		readonly address: string;
	};
	readonly networks: readonly Pick<NetworkAssignment, "id" | "name" | "ingress" | "endpoints">[];
}

/** Says what is wrong with a template, in a sentence that names the field and not what stands in it. */
export class TemplateError extends Error {}

/** Only templated secrets and configs may read others; by file name in the container, or by name. */
export type ReadFile = (kind: MaterialKind, name: string) => string | undefined;

export function expandTemplate(
	text: string,
	task: TaskAssignment,
	site: TemplateSite,
	read?: ReadFile,
): string {
	if (!text.includes("{{")) return text;
	return text.replace(action, (_whole, inner: string) => {
		const words = wordsOf(inner.trim());
		if (words.length === 0) return "";
		return fill(words, task, site, read);
	});
}

/** A dash at an end takes the white space beside the action with it. */
const action = /(?:\s*\{\{-\s|\{\{)(.*?)(?:\s-\}\}\s*|\}\})/gs;

interface Word {
	readonly kind: "name" | "text" | "number";
	readonly value: string;
}

function wordsOf(inner: string): Word[] {
	if (/^\/\*.*\*\/$/s.test(inner)) return [];
	const words: Word[] = [];
	let rest = inner;
	while (rest !== "") {
		const [whole, quoted, raw, number, name] =
			/^\s*(?:("(?:[^"\\\n]|\\.)*")|`([^`]*)`|(\d+)(?![\w.])|(\.?[\w.]+))/.exec(rest) ?? [];
		if (whole === undefined)
			throw new TemplateError(
				"an action is not understood here: only a field, or a function of quoted names",
			);
		if (quoted !== undefined) words.push({ kind: "text", value: unquoted(quoted) });
		else if (raw !== undefined) words.push({ kind: "text", value: raw });
		else if (number !== undefined) words.push({ kind: "number", value: number });
		else words.push({ kind: "name", value: name ?? "" });
		rest = rest.slice(whole.length).trimStart();
	}
	return words;
}

const escapes: Readonly<Record<string, string>> = { n: "\n", t: "\t", r: "\r" };

function unquoted(text: string): string {
	return text.slice(1, -1).replaceAll(/\\(.)/g, (_all, char: string) => escapes[char] ?? char);
}

function fill(
	[first, ...args]: readonly Word[],
	task: TaskAssignment,
	site: TemplateSite,
	read: ReadFile | undefined,
): string {
	if (first?.kind === "text" && args.length === 0) return first.value;
	const [one] = args;
	switch (first?.kind === "name" ? first.value : "") {
		case "index":
			if (args.length === 2 && one?.value === ".Service.Labels" && args[1]?.kind === "text") {
				return task.service.labels[args[1].value] ?? "";
			}
			throw new TemplateError('index is for .Service.Labels and a "name" only');
		case "env":
			if (read && args.length === 1 && one?.kind === "text") return envOf(one.value, task, site);
			break;
		case "secret":
		case "config":
			if (read && args.length === 1 && one?.kind === "text") {
				const kind = first?.value as MaterialKind;
				const found = read(kind, one.value);
				if (found !== undefined) return found;
				throw new TemplateError(`the task has no ${kind} of that name among its files`);
			}
			break;
		case ".Task.Address":
			if (args.length === 0) return addressOf(task, site, undefined);
			if (args.length === 1 && one?.kind === "text") return addressOf(task, site, one.value);
			throw new TemplateError('.Task.Address takes no argument, or a "network"');
		case ".Task.Port":
			if (args.length === 1 && one && one.kind !== "name") return portOf(one.value, task, site);
			throw new TemplateError('.Task.Port takes the port in the container: 80, or "80/udp"');
	}
	const value = args.length === 0 ? fieldOf(first?.value ?? "", task, site) : undefined;
	if (value !== undefined) return value;
	throw new TemplateError("no such template field");
}

function fieldOf(name: string, task: TaskAssignment, site: TemplateSite): string | undefined {
	const label = /^\.Service\.Labels\.(\w+)$/.exec(name)?.[1];
	if (label !== undefined) return task.service.labels[label] ?? "";
	switch (name) {
		case ".Service.ID":
			return task.service.id;
		case ".Service.Name":
			return task.service.name;
		case ".Node.ID":
			return site.node.id;
		case ".Node.Hostname":
			return site.node.hostname;
		case ".Node.Platform.OS":
			return site.node.os;
		case ".Node.Platform.Architecture":
			return site.node.architecture;
		case ".Node.Address":
			if (site.node.address) return site.node.address;
			throw new TemplateError(".Node.Address is not known yet");
		case ".Task.ID":
			return task.id;
		case ".Task.Name":
			return task.name;
		case ".Task.Slot":
			return task.slot > 0 ? String(task.slot) : site.node.id;
		default:
			return undefined;
	}
}

/** As the container has it: expanded, and empty where there is none. */
function envOf(name: string, task: TaskAssignment, site: TemplateSite): string {
	const entry = task.template.container.env.find((each) => each.startsWith(`${name}=`));
	return entry ? expandTemplate(entry.slice(name.length + 1), task, site) : "";
}

/** In the network of that name, or in the first that is not the ingress. */
function addressOf(task: TaskAssignment, site: TemplateSite, asked: string | undefined): string {
	const found = task.attachments.find(({ network }) => {
		const known = site.networks.find(({ id }) => id === network);
		return asked === undefined ? known?.ingress === false : known?.name === asked;
	});
	if (found) return found.address;
	throw new TemplateError(
		asked === undefined
			? ".Task.Address: the service is in no network: attach it to one"
			: ".Task.Address: the service is not in the network of that name",
	);
}

/** Where the port is published: on every node, or on this one in host mode. */
function portOf(asked: string, task: TaskAssignment, { networks }: TemplateSite): string {
	const [target, protocol = "tcp"] = asked.split("/");
	const fits = (port: { target: number; protocol: string }) =>
		String(port.target) === target && port.protocol === protocol;
	const onHost = task.hostPorts.find(fits);
	if (onHost && onHost.published > 0) return String(onHost.published);
	const everywhere = networks
		.filter(({ ingress }) => ingress)
		.flatMap(({ endpoints }) => endpoints)
		.find(({ service }) => service === task.service.id)
		?.ports.find(fits);
	if (everywhere) return String(everywhere.published);
	throw new TemplateError(
		onHost
			? ".Task.Port: in host mode the engine chooses the port when the container starts: name one, or publish in ingress mode"
			: ".Task.Port: the service does not publish that port",
	);
}

/** What a templated file may read of the others, given their contents as they are. */
export function readerOf(
	task: TaskAssignment,
	contentOf: (key: { readonly kind: MaterialKind; readonly target: string }) => string | undefined,
): ReadFile {
	return (kind, name) => {
		const files = filesOf(task.template).filter((file) => file.kind === kind);
		const targets = kind === "secret" ? [name, `/run/secrets/${name}`] : [name, `/${name}`];
		const found =
			files.find(({ target }) => targets.includes(target)) ??
			files.find((file) => file.name === name);
		return found && contentOf(found);
	};
}
