// `docker skein login` and `logout`.

import { hostname } from "node:os";
import { messageOf } from "../../model/errors.ts";
import { must } from "../../model/invariant.ts";
import { Complaint } from "../complaint.ts";
import { removeContext } from "../contexts.ts";
import {
	accountOf,
	clustersOf,
	type Issued,
	type Organization,
	originOf,
	revoke,
	tokensFor,
} from "../endpoint.ts";
import { type Login, loginsAt, placeOf, readLogins, writeLogins } from "../logins.ts";
import { endRunning, ensureRunning, stateOf } from "../running.ts";
import type { Terminal } from "../terminal.ts";
import type { Command, Given } from "./command.ts";

export const login: Command = {
	usage: "login URL [--email EMAIL | --token TOKEN]",
	summary: "Sign in at a control plane",
	help: `Keeps a token in skein.json beside docker's own config.json, for you alone to read.

Options:
  --email EMAIL      sign in with a password, which is asked for; a token of this machine's own is made with it,
                     for each organization that you belong to
  --password-stdin   take the password from standard input
  --token TOKEN      use this token; - takes it from standard input
                     (of a control plane that you run yourself it is in the file \`token\` of its data directory)`,
	options: {
		email: { type: "string" },
		token: { type: "string" },
		"password-stdin": { type: "boolean" },
	},
	words: [1, 1],
	async run(terminal, [address = ""], options) {
		const { places } = terminal;
		const url = originOf(address);
		warnOfPlainText(terminal, url);
		const given = await signedIn(terminal, url, options);
		const { fresh, refused } = given;
		const reach = await Promise.all(
			fresh.map(async (login) => ({
				login,
				clusters: (await clustersOf(login)).map(({ name }) => name),
			})),
		);
		const logins = await readLogins(places);
		const before = await replacedBy(given, logins);
		inherit(before, reach);
		await writeLogins(places, [...logins.filter((each) => !before.includes(each)), ...fresh]);
		for (const each of before) await takeBack(terminal, each);
		terminal.say(`signed in at ${url} as ${fresh[0]?.who}`);
		for (const { name, why } of refused) terminal.warn(`no token for ${name}: ${why}`);
		for (const { login, clusters } of reach) {
			const where = reach.length > 1 ? `${login.organization?.name}: ` : "";
			const found = clusters.length > 0 ? `clusters: ${clusters.join(", ")}` : noCluster;
			terminal.say(`${where}${found}`);
		}
		if (fresh.some(({ contexts }) => Object.keys(contexts).length > 0)) {
			await ensureRunning(places, terminal.program);
		} else if (reach.some(({ clusters }) => clusters.length > 0)) {
			terminal.say("docker skein context makes a docker context of each");
		}
	},
};

const noCluster = "there is no cluster in your reach yet";

interface Reach {
	readonly login: Login;
	readonly clusters: readonly string[];
}

/** Contexts that were made before lead on to their clusters, by whichever login has these now. */
function inherit(before: readonly Login[], reach: readonly Reach[]): void {
	for (const old of before) {
		for (const [name, context] of Object.entries(old.contexts)) {
			const { login } =
				reach.find(({ clusters }) => clusters.includes(context.cluster)) ??
				reach.find((each) => each.login.organization?.id === old.organization?.id) ??
				must(reach[0], "whoever signed in has a login");
			login.contexts[name] = context;
		}
	}
}

/** A password's are all that the user has there, but for what was refused now; a token is one among others. */
async function replacedBy({ fresh, refused, isPassword }: SignedIn, logins: readonly Login[]) {
	const replaced: Login[] = [];
	for (const login of logins.filter(({ url }) => url === fresh[0]?.url)) {
		// Where it is good for nothing any more, nobody knows whose it was.
		const { id } = login.organization ?? (await organizationOf(login)) ?? {};
		const isKept = isPassword
			? refused.some((each) => each.id === id)
			: id !== undefined && id !== fresh[0]?.organization?.id;
		if (!isKept) replaced.push(login);
	}
	return replaced;
}

async function organizationOf(login: Login): Promise<Organization | undefined> {
	return accountOf(login).then(
		({ organization }) => organization,
		() => undefined,
	);
}

export const logout: Command = {
	usage: "logout [URL | --all]",
	summary: "Forget a control plane: tokens, contexts, sockets",
	help: `Takes back the tokens that login made, removes the docker contexts that lead there, and forgets it.

Options:
  --all   everywhere`,
	options: { all: { type: "boolean" } },
	words: [0, 1],
	async run(terminal, [given], { all }) {
		const { places } = terminal;
		const logins = await readLogins(places);
		const url = given === undefined ? undefined : originOf(given);
		const leaving = all ? logins : loginsAt(logins, url);
		for (const { contexts } of leaving) {
			for (const name of Object.keys(contexts)) {
				await removeContext(terminal.docker, places, name);
			}
		}
		const left = logins.filter((each) => !leaving.includes(each));
		await writeLogins(places, left);
		if (left.length === 0) await endRunning(places);
		else await stateOf(places, "/reload");
		for (const each of leaving) await takeBack(terminal, each);
		for (const url of new Set(leaving.map((each) => each.url))) {
			terminal.say(`signed out of ${url}`);
		}
	},
};

/** The token that we made, since nobody has any use for it now. One that the user brought is the user's. */
async function takeBack(terminal: Terminal, login: Login): Promise<void> {
	if (login.tokenId === undefined) return;
	try {
		await revoke(login, login.tokenId);
	} catch (error) {
		terminal.warn(
			`the token before (${placeOf(login)}) could not be taken back: ${messageOf(error)}`,
		);
	}
}

interface SignedIn {
	/** One at least. */
	readonly fresh: readonly Login[];
	readonly refused: Issued["refused"];
	readonly isPassword: boolean;
}

async function signedIn(terminal: Terminal, url: string, options: Given): Promise<SignedIn> {
	const credential = await credentialOf(terminal, options);
	if ("token" in credential) {
		const { token } = credential;
		const { who, organization } = await accountOf({ url, token });
		return {
			fresh: [{ url, organization, who, token, contexts: {} }],
			refused: [],
			isPassword: false,
		};
	}
	const { email, password } = credential;
	const name = `docker skein on ${hostname()}`;
	const { made, refused } = await tokensFor({ url, email, password, name });
	if (made.length === 0) {
		const why = refused.map((each) => `${each.name}: ${each.why}`).join("; ");
		throw new Complaint(
			`${url} gives no token: ${why || "you belong to no organization there: ask an owner or admin of one for an invitation"}`,
		);
	}
	const fresh = made.map(({ id, name, token, tokenId }) => {
		const organization = { id, name };
		return { url, organization, who: email, token, tokenId, contexts: {} };
	});
	return { fresh, refused, isPassword: true };
}

type Credential =
	| { readonly token: string }
	| { readonly email: string; readonly password: string };

async function credentialOf(terminal: Terminal, options: Given): Promise<Credential> {
	const { token, email, "password-stdin": fromStdin } = options;
	if (token !== undefined && email !== undefined) {
		throw new Complaint("--email and --token: give one of them");
	}
	if (typeof token === "string") return tokenOf(token === "-" ? await terminal.read() : token);
	if (typeof email === "string") return passwordOf(terminal, email, Boolean(fromStdin));
	if (!terminal.isAsking) {
		throw new Complaint("there is nobody to ask: give --token - or --email with --password-stdin");
	}
	const asked = (await terminal.ask("Email (leave empty to give a token): ")).trim();
	if (asked !== "") return passwordOf(terminal, asked, false);
	return tokenOf(await terminal.askSecret("Token: "));
}

function tokenOf(text: string): { readonly token: string } {
	const token = text.trim();
	if (!/^[\x21-\x7e]+$/.test(token)) throw new Complaint("--token: this is empty, or no token");
	return { token };
}

async function passwordOf(terminal: Terminal, email: string, fromStdin: boolean) {
	if (!fromStdin && !terminal.isAsking) {
		throw new Complaint("there is nobody to ask for the password: give it with --password-stdin");
	}
	const typed = fromStdin ? await terminal.read() : await terminal.askSecret("Password: ");
	const password = typed.replace(/\r?\n$/, "");
	if (password === "") throw new Complaint("the password is empty");
	return { email, password };
}

function warnOfPlainText(terminal: Terminal, url: string): void {
	const { protocol, hostname } = new URL(url);
	if (protocol === "https:" || /^(localhost|127\.|\[::1\])/.test(hostname)) return;
	terminal.warn(`${url} is not encrypted: whoever is on the way reads the token`);
}
