// The endpoint's own API, as far as `docker skein` needs it.

import { z } from "zod";
import { messageOf } from "../model/errors.ts";
import type { LimitName } from "../model/limits.ts";
import { Complaint } from "./complaint.ts";

const organizationSchema = z.object({ id: z.string(), name: z.string() });
const accountSchema = z.object({
	name: z.string().nullish(),
	email: z.string().nullish(),
	organization: z.string(),
	organizations: z.array(organizationSchema),
});
const clustersSchema = z.array(
	z.object({ name: z.string(), organization: z.string(), endpoint: z.url() }),
);
const saidSchema = z.object({ message: z.string() });
const sessionSchema = z.object({ token: z.string() });
const tokenSchema = z.object({ id: z.string(), token: z.string() });

export type Cluster = z.infer<typeof clustersSchema>[number];
export type Organization = z.infer<typeof organizationSchema>;

export interface Credential {
	readonly url: string;
	readonly token: string;
}

/** `https://host[:port]`; https unless told otherwise. */
export function originOf(given: string): string {
	const text = /^[a-z]+:\/\//i.test(given) ? given : `https://${given}`;
	if (!URL.canParse(text)) throw new Complaint(`${given} is no URL: https://HOST is one`);
	const { protocol, origin } = new URL(text);
	if (protocol !== "https:" && protocol !== "http:") {
		throw new Complaint(`${given}: only https:// and http:// lead to an endpoint`);
	}
	return origin;
}

export interface Account {
	/** In words. */
	readonly who: string;
	/** The one that the credential acts for. */
	readonly organization: Organization;
	/** All of the user's. */
	readonly organizations: readonly Organization[];
}

export async function accountOf(at: Credential): Promise<Account> {
	const account = await ask(at, "/api/account", accountSchema);
	const { name, email, organization: id, organizations } = account;
	return {
		who: email ?? name ?? "the owner",
		organization: organizations.find((each) => each.id === id) ?? { id, name: id },
		organizations,
	};
}

export function clustersOf(at: Credential): Promise<Cluster[]> {
	return ask(at, "/api/clusters", clustersSchema);
}

const usedSchema = z.object({ used: z.number(), limit: z.number().nullable() });
const usageSchema = z.object({
	clusters: usedSchema,
	nodes: usedSchema,
	services: usedSchema,
	tasks: usedSchema,
	contents: usedSchema,
} satisfies Record<LimitName, unknown>);

/** Of an organization's clusters, how many there are. */
export function clustersUsed(at: Credential, organization: string) {
	const path = `/api/organizations/${encodeURIComponent(organization)}/usage`;
	return ask(at, path, usageSchema.pick({ clusters: true }));
}

/** Of what is in a cluster, how much there is. */
export function usageOf(at: Credential, cluster: string) {
	return ask(
		at,
		`/api/clusters/${encodeURIComponent(cluster)}/usage`,
		usageSchema.omit({ clusters: true }),
	);
}

export interface SignIn {
	readonly url: string;
	readonly email: string;
	readonly password: string;
	/** What the token is called in the account's list. */
	readonly name: string;
}

export interface Issued {
	readonly made: readonly (Organization & { readonly token: string; readonly tokenId: string })[];
	/** Where there is none to be had, and why. */
	readonly refused: readonly (Organization & { readonly why: string })[];
}

/** A token for this machine of each organization of the user's; the session that made them is ended. */
export async function tokensFor({ url, email, password, name }: SignIn): Promise<Issued> {
	const signedIn = await send(`${url}/api/auth/sign-in/email`, posting({ email, password }));
	if (!signedIn.ok) {
		throw new Complaint(`you could not be signed in at ${url}: ${await saidBy(signedIn)}`);
	}
	const session = read(url, sessionSchema, await signedIn.json()).token;
	const at = { url, token: session };
	const made: Issued["made"][number][] = [];
	const refused: Issued["refused"][number][] = [];
	try {
		for (const each of (await accountOf(at)).organizations) {
			const init = posting({ name }, { "X-Skein-Organization": each.id });
			try {
				const reply = await demand(at, "/api/tokens", init);
				const { id, token } = read(url, tokenSchema, await reply.json());
				made.push({ ...each, token, tokenId: id });
			} catch (error) {
				refused.push({ ...each, why: messageOf(error) });
			}
		}
	} finally {
		// It would end by itself.
		await demand(at, "/api/auth/sign-out", posting({})).catch(() => undefined);
	}
	return { made, refused };
}

const posting = (body: object, headers: Readonly<Record<string, string>> = {}) => ({
	method: "POST",
	headers: { "Content-Type": "application/json", ...headers },
	body: JSON.stringify(body),
});

/** In the endpoint's words, what becomes of it. */
export async function requestCode(url: string, email: string): Promise<string> {
	const reply = await send(`${url}/api/auth/request-password-reset`, posting({ email }));
	if (!reply.ok) throw new Complaint(await saidBy(reply));
	return read(url, saidSchema, await reply.json()).message;
}

export async function resetPassword(url: string, token: string, newPassword: string) {
	const reply = await send(`${url}/api/auth/reset-password`, posting({ token, newPassword }));
	if (!reply.ok) throw new Complaint(await saidBy(reply));
}

export async function revoke(at: Credential, id: string): Promise<void> {
	await demand(at, `/api/tokens/${encodeURIComponent(id)}`, { method: "DELETE" });
}

const passphraseHeader = (passphrase: string) => ({
	"Skein-Passphrase": Buffer.from(passphrase, "utf8").toString("base64"),
});

/** The cluster as one file, whose secrets open with the passphrase alone. */
export async function exportOf(
	at: Credential,
	cluster: string,
	passphrase: string,
): Promise<ReadableStream<Uint8Array>> {
	const reply = await demand(at, `/api/clusters/${encodeURIComponent(cluster)}/export`, {
		method: "POST",
		headers: passphraseHeader(passphrase),
	});
	return reply.body ?? new Blob([]).stream();
}

const importedSchema = z.object({ name: z.string(), same: z.boolean() });

/** What became of the file: a cluster of that name, and whether it is the same one or a copy of it. */
export async function importOf(
	at: Credential,
	file: Blob,
	passphrase: string,
	name: string | undefined,
): Promise<z.infer<typeof importedSchema>> {
	const query = name === undefined ? "" : `?${new URLSearchParams({ name })}`;
	const reply = await demand(at, `/api/clusters/import${query}`, {
		method: "POST",
		headers: { ...passphraseHeader(passphrase), "Content-Type": "application/vnd.skein.cluster" },
		body: file,
	});
	return read(at.url, importedSchema, await reply.json());
}

async function ask<Shape>(at: Credential, path: string, schema: z.ZodType<Shape>): Promise<Shape> {
	const reply = await demand(at, path);
	return read(at.url, schema, await reply.json().catch(() => undefined));
}

async function demand(at: Credential, path: string, init: RequestInit = {}): Promise<Response> {
	const reply = await send(`${at.url}${path}`, {
		...init,
		headers: { ...init.headers, Authorization: `Bearer ${at.token}` },
	});
	if (reply.ok) return reply;
	const said = await saidBy(reply);
	if (reply.status === 401) throw new Complaint(`${at.url} does not take the token: ${said}`);
	throw new Complaint(said);
}

async function send(url: string, init: RequestInit): Promise<Response> {
	try {
		return await fetch(url, { ...init, redirect: "manual" });
	} catch (cause) {
		throw new Complaint(unreachable(url, cause), { cause });
	}
}

export function unreachable(url: string, cause: unknown): string {
	// The runtime goes on to ask the reader a question.
	const why = messageOf(cause).replace(/\. Is the computer able .*$/, "");
	return `${new URL(url).origin} cannot be reached: ${why}`;
}

async function saidBy(reply: Response): Promise<string> {
	const text = await reply.text();
	try {
		const { message } = JSON.parse(text) as { message?: unknown };
		if (typeof message === "string") return message;
	} catch {
		// Some other server's page.
	}
	return `${reply.status} ${reply.statusText}`.trim();
}

function read<Shape>(url: string, schema: z.ZodType<Shape>, body: unknown): Shape {
	const read = schema.safeParse(body);
	if (read.success) return read.data;
	throw new Complaint(
		`${url} does not answer as a Skein control plane of this version does: is the address right?`,
	);
}
