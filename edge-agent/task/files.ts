// Secrets and configs of tasks, as files in memory: written before a container starts, gone when its task is.
//
// They lie in a tmpfs of our own that only root can enter, a folder for each task, and are bound into the container one
// by one, read-only (container.ts says where). Contents come from the agent's own keeping (contents.ts), so a machine
// that boots with the control plane away has them.

import { chmod, chown, mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { TaskAssignment } from "../../model/assignment.ts";
import { messageOf } from "../../model/errors.ts";
import { type ContentName, type FileReference, filesOf } from "../../model/material.ts";
import type { Exec } from "../host/exec.ts";
import { ensureMemory } from "../host/memory.ts";
import { fileSource, filesRoot } from "./container.ts";
import { expandTemplate, readerOf, TemplateError, type TemplateSite } from "./template.ts";

export interface TaskFiles {
	/** What keeps the task's files from being there, or null when they are. May be called again. */
	write(task: TaskAssignment, site: TemplateSite): Promise<FilesProblem | null>;
	/** Removes those of every other task. */
	keepOnly(tasks: ReadonlySet<string>): Promise<void>;
}

export interface FilesProblem {
	/** `waiting` may be over by itself. */
	readonly kind: "waiting" | "rejected";
	readonly error: string;
}

export type ReadContent = (name: ContentName) => Promise<Uint8Array | undefined>;

export function taskFiles(exec: Exec, readContent: ReadContent, root = filesRoot): TaskFiles {
	return {
		async write(task, site) {
			const files = filesOf(task.template);
			if (files.length === 0) return null;
			const contents = new Map<string, Uint8Array>();
			for (const file of files) {
				const content = await readContent(file);
				if (!content) {
					const error = `waiting for the content of ${file.kind} ${file.name}`;
					return { kind: "waiting", error };
				}
				contents.set(file.target, content);
			}
			const texts: [FileReference, Uint8Array][] = [];
			for (const file of files) {
				const expanded = expandFile(file, contents, task, site);
				if (typeof expanded === "string") return { kind: "rejected", error: expanded };
				texts.push([file, expanded]);
			}
			try {
				await ensureMemory(exec, root);
				await mkdir(join(root, task.id), { recursive: true, mode: 0o700 });
				for (const [index, [file, content]] of texts.entries()) {
					await writeFile(fileSource(task, index, root), file, content);
				}
				return null;
			} catch (error) {
				// Of paths and programs, which say nothing of contents.
				return { kind: "waiting", error: `secrets and configs: ${messageOf(error)}` };
			}
		},
		async keepOnly(tasks) {
			const found = await readdir(root).catch(() => []);
			for (const name of found) {
				if (!tasks.has(name)) await rm(join(root, name), { recursive: true, force: true });
			}
		},
	};
}

/** The bytes, or what is wrong with the template: never with what stands in it. */
function expandFile(
	file: FileReference,
	contents: ReadonlyMap<string, Uint8Array>,
	task: TaskAssignment,
	site: TemplateSite,
): Uint8Array | string {
	const plain = contents.get(file.target) ?? new Uint8Array();
	if (!file.templating) return plain;
	// One character a byte, so that what is no text comes through as it is.
	const asText = (bytes: Uint8Array) => Buffer.from(bytes).toString("latin1");
	const read = readerOf(task, ({ target }) => {
		const content = contents.get(target);
		return content && asText(content);
	});
	try {
		return Buffer.from(expandTemplate(asText(plain), task, site, read), "latin1");
	} catch (error) {
		if (!(error instanceof TemplateError)) throw error;
		return `expanding ${file.kind} ${file.name} failed: ${error.message}`;
	}
}

/** Never half of it: whoever starts the container meanwhile finds the one before, or this. */
async function writeFile(path: string, file: FileReference, content: Uint8Array): Promise<void> {
	const half = `${path}.half`;
	await rm(half, { force: true });
	const handle = await open(half, "wx", 0o600);
	try {
		await handle.writeFile(content);
	} finally {
		await handle.close();
	}
	await chown(half, file.uid, file.gid);
	await chmod(half, file.mode);
	await rename(half, path);
}
