// A repository's branches and tags without Git: the first answer of its smart HTTP, which lists them.
//
// For deliveries that were lost, and for deployments by hand. https://git-scm.com/docs/http-protocol; version 0, which
// every server speaks.

import { z } from "zod";
import {
	forbidden,
	invalid,
	messageOf,
	notFound,
	Refusal,
	unavailable,
} from "../../model/errors.ts";
import type { Commit } from "../../model/git.ts";
import { toBase64 } from "../accounts/base64.ts";
import { bytesOf, bytesWithin } from "./bytes.ts";
import { type Reach, type Send, sendWithin } from "./reach.ts";

export interface Login {
	readonly username: string;
	/** Or a token: which name goes with it is the forge's to say. */
	readonly password: string;
}

export type RefsOf = (
	repository: string,
	login: Login | null,
) => Promise<ReadonlyMap<string, Commit>>;

export const refsWithin =
	(reach: Reach): RefsOf =>
	(repository, login) =>
		readRefs(repository, login, sendWithin(reach));

const timeoutMs = 15_000;

/** A line is some 60 bytes, so that is a quarter of a million refs; GitHub lists those of pull requests too. */
const limitBytes = 16 * 1024 * 1024;

/**
 * `refs/heads/…` and `refs/tags/…` → commit; a tag's is that of the commit it stands for. Throws `invalid` for what is no
 * repository that can be asked, `forbidden`, `not-found`, or `unavailable` when it does not answer in time.
 */
export async function readRefs(
	repository: string,
	login: Login | null,
	send: Send = (request) => fetch(request),
): Promise<ReadonlyMap<string, Commit>> {
	const url = addressOf(repository);
	const tooMany = () =>
		unavailable(`repository: ${repository} has more than ${limitBytes >> 20} MB of refs`);
	try {
		const answer = await ask(url, login, AbortSignal.timeout(timeoutMs), send);
		if (!answer.ok) throw refused(answer.status, repository, login);
		if (answer.headers.get("Content-Type") !== "application/x-git-upload-pack-advertisement") {
			throw notGit(repository);
		}
		return refsOf(packets(await bytesWithin(answer.body, limitBytes, tooMany)), repository);
	} catch (error) {
		if (error instanceof Refusal) throw error;
		const why = messageOf(error);
		throw unavailable(`repository: ${repository} does not answer: ${why}`, { cause: error });
	}
}

function addressOf(repository: string): URL {
	const parsed = z.url().safeParse(repository);
	const url = parsed.success ? new URL(repository) : null;
	// Not shown again: it would stand in logs.
	if (url?.username || url?.password) {
		throw invalid(
			"repository: has a login in its address: give it apart, as the application's login",
		);
	}
	const isHere = url !== null && /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(url.hostname);
	if (!url || !(url.protocol === "https:" || (url.protocol === "http:" && isHere))) {
		throw invalid(
			`repository: ${repository} cannot be asked for its branches: only https://… can be, without a program for ssh`,
		);
	}
	url.pathname = `${url.pathname.replace(/\/+$/, "")}/info/refs`;
	url.search = "?service=git-upload-pack";
	return url;
}

/** Forges redirect from a repository's old name to its new one, and GitLab to the name with `.git`. */
const redirectsMax = 3;

async function ask(
	url: URL,
	login: Login | null,
	signal: AbortSignal,
	send: Send,
): Promise<Response> {
	const basic = login && `Basic ${toBase64(bytesOf(`${login.username}:${login.password}`))}`;
	let at = url;
	for (let hops = 0; ; hops++) {
		const headers = {
			// Some servers show others a page.
			"User-Agent": "git/2.0 (skein)",
			// The login is for the host that it was given for, and not for where that one sends us.
			...(basic && at.origin === url.origin && { Authorization: basic }),
		};
		const answer = await send(new Request(at.href, { headers, redirect: "manual", signal }));
		const to = answer.headers.get("Location");
		if (answer.status < 300 || answer.status > 399 || !to || hops === redirectsMax) return answer;
		await answer.body?.cancel();
		const next = new URL(to, at);
		if (next.protocol !== "https:" && next.origin !== url.origin) return answer;
		at = next;
	}
}

/** Packet lines: four hexadecimal digits say how long each is, themselves included; less than four ends a section. */
function* packets(bytes: Uint8Array): Generator<string | null> {
	const decoder = new TextDecoder();
	for (let at = 0; at < bytes.length; ) {
		const digits = decoder.decode(bytes.subarray(at, at + 4));
		if (!/^[0-9a-f]{4}$/i.test(digits)) return yield null;
		const length = Math.max(4, Number.parseInt(digits, 16));
		if (at + length > bytes.length) return yield null;
		yield decoder.decode(bytes.subarray(at + 4, at + length)).trimEnd();
		at += length;
	}
}

/** Null among the lines is where they cannot be read. */
function refsOf(lines: Iterable<string | null>, repository: string): ReadonlyMap<string, Commit> {
	const refs = new Map<string, Commit>();
	for (const line of lines) {
		if (line === null) throw notGit(repository);
		if (line.startsWith("ERR "))
			throw unavailable(`repository: ${repository} says: ${line.slice(4)}`);
		// Behind a zero byte the first one says what the server can do.
		const [, hash, ref] = /^([0-9a-f]{40,64}) (refs\/(?:heads|tags)\/[^\0]+)/.exec(line) ?? [];
		// An annotated tag is followed by the commit that it stands for, under the same name with `^{}`.
		if (hash && ref) refs.set(ref.replace(/\^\{\}$/, ""), hash);
	}
	return refs;
}

const notGit = (repository: string) =>
	invalid(
		`repository: ${repository} is no Git repository that speaks smart HTTP: check the address`,
	);

function refused(status: number, repository: string, login: Login | null): Refusal {
	if (status === 401 || status === 403) {
		return forbidden(
			login
				? `repository: ${repository} refuses the login: give the application a token that may read it`
				: `repository: ${repository} is private, or is not there: give the application a login that may read it`,
		);
	}
	if (status === 404) {
		return notFound(
			`repository: ${repository} is not there${login ? ", or the login may not see it" : ", or is private and needs a login"}`,
		);
	}
	return unavailable(`repository: ${repository} answers with status ${status}`);
}
