// What `docker skein` remembers, in `skein.json` beside Docker's own config.json: where the user is signed in, with which
// credential, and which docker contexts lead there. The file is its owner's alone.

import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { Complaint } from "./complaint.ts";

const loginSchema = z.object({
	/** The endpoint's origin. */
	url: z.url(),
	/** That the token is of; unknown where it was made by a version that had one login for each control plane. */
	organization: z.object({ id: z.string(), name: z.string() }).optional(),
	/** As the endpoint calls the user. */
	who: z.string(),
	token: z.string().min(1),
	/** Where we made the token, so that `logout` can take it back. */
	tokenId: z.string().optional(),
	/** By the docker context's name: the cluster, and where its Docker API is. */
	contexts: z.record(z.string(), z.object({ cluster: z.string(), endpoint: z.url() })),
});
const fileSchema = z.object({ logins: z.array(loginSchema) });

export type Login = z.infer<typeof loginSchema>;

/** The places of one user. Contexts name a socket by its path, so it lies beside them, wherever a session's XDG_RUNTIME_DIR is. */
export interface Places {
	/** Docker's: `~/.docker`. */
	readonly config: string;
	readonly file: string;
	/** Of the program, its sockets and its log. */
	readonly folder: string;
	readonly control: string;
	readonly log: string;
	socketOf(context: string): string;
}

export function placesIn(config: string): Places {
	const folder = join(config, "skein");
	return {
		config,
		file: join(config, "skein.json"),
		folder,
		control: join(folder, ".control.sock"),
		log: join(folder, "socket.log"),
		socketOf: (context) => join(folder, `${context}.sock`),
	};
}

export async function readLogins({ file }: Places): Promise<Login[]> {
	let text: string;
	try {
		text = await readFile(file, "utf8");
	} catch (error) {
		if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
		throw error;
	}
	try {
		return fileSchema.parse(JSON.parse(text)).logins;
	} catch (cause) {
		const why = cause instanceof z.ZodError ? z.prettifyError(cause) : String(cause);
		throw new Complaint(`${file} cannot be read: ${why}\nRemove it and sign in again`, { cause });
	}
}

/** Whole or not at all. */
export async function writeLogins(places: Places, logins: readonly Login[]): Promise<void> {
	await mkdir(places.config, { recursive: true, mode: 0o700 });
	const fresh = `${places.file}.${process.pid}`;
	await writeFile(fresh, `${JSON.stringify({ logins }, null, "\t")}\n`, { mode: 0o600 });
	await rename(fresh, places.file);
}

/** Those at one control plane; where there are several, the user has to say which. */
export function loginsAt(logins: readonly Login[], url: string | undefined): readonly Login[] {
	const found = url === undefined ? logins : logins.filter((each) => each.url === url);
	const [first] = found;
	if (!first && url !== undefined) {
		throw new Complaint(`you are not signed in at ${url}: docker skein login ${url}`);
	}
	if (!first) throw new Complaint("you are not signed in anywhere: docker skein login URL");
	if (found.some((each) => each.url !== first.url)) {
		const all = [...new Set(found.map((each) => each.url))].join(", ");
		throw new Complaint(`you are signed in at ${all}: say which with --url`);
	}
	return found;
}

/** The one that is meant, by its control plane, and by its organization's name or id. */
export function oneLogin(
	logins: readonly Login[],
	url: string | undefined,
	organization: string | undefined,
): Login {
	const there = loginsAt(logins, url);
	const [found, ...more] = there.filter(
		(each) => organization === undefined || isOf(each, organization),
	);
	const all = there.flatMap((each) => each.organization?.name ?? []).join(", ") || "others";
	if (!found) {
		throw new Complaint(
			`--organization: you are signed in for ${all}, and not for ${organization}: docker skein login ${there[0]?.url}`,
		);
	}
	if (more.length === 0) return found;
	throw new Complaint(`you are signed in for ${all}: say which with --organization`);
}

export const isOf = ({ organization }: Login, named: string) =>
	organization?.id === named || organization?.name === named;

/** In words: an organization, where that is known, and its control plane. */
export const placeOf = ({ organization, url }: Login) =>
	organization ? `${organization.name} at ${url}` : url;
