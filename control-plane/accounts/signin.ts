// Signing up and in: passwords, GitHub, the sessions that come of it, and whose an address is. better-auth over the
// directory database.
//
// Built for each request, because at the edge nothing that has a connection may outlive one. Which of its routes are
// there is for people.ts to say; whose a session is, auth.ts looks up by itself.

import { drizzleAdapter } from "better-auth/adapters/drizzle";
import { betterAuth } from "better-auth/minimal";
import { bearer } from "better-auth/plugins/bearer";
import type { Database } from "../store/client.ts";
import { queriesOn } from "../store/query.ts";
import { login, session, user, verification } from "../store/schema.ts";
import type { Letter } from "./letters.ts";
import { type MailSettings, type MailVariables, mailSettings } from "./mail.ts";
import { sha256 } from "./tokens.ts";

export interface SignInSettings {
	/** Signs what is on its way to GitHub and back; the same in all processes. */
	readonly secret: string;
	/** Who may become a user: anybody, or those with an invitation. */
	readonly signUp: "open" | "invited";
	readonly github?: { readonly clientId: string; readonly clientSecret: string };
	readonly mail?: MailSettings;
}

export interface SignInVariables extends MailVariables {
	readonly SKEIN_SIGNUP?: string | undefined;
	readonly SKEIN_GITHUB_CLIENT_ID?: string | undefined;
	readonly SKEIN_GITHUB_CLIENT_SECRET?: string | undefined;
}

/** From the environment's variables, and the master key. */
export async function signInSettings(
	key: string,
	variables: SignInVariables,
): Promise<SignInSettings> {
	const signUp = variables.SKEIN_SIGNUP || "invited";
	if (signUp !== "open" && signUp !== "invited") {
		throw new Error(`SKEIN_SIGNUP: ${signUp} is neither open nor invited`);
	}
	const clientId = variables.SKEIN_GITHUB_CLIENT_ID;
	const clientSecret = variables.SKEIN_GITHUB_CLIENT_SECRET;
	if (Boolean(clientId) !== Boolean(clientSecret)) {
		throw new Error(
			"SKEIN_GITHUB_CLIENT_ID, SKEIN_GITHUB_CLIENT_SECRET: give both, or neither; GitHub shows them under OAuth Apps",
		);
	}
	const github = clientId && clientSecret ? { github: { clientId, clientSecret } } : {};
	const mail = mailSettings(variables);
	return { secret: await sha256(`sign-in ${key}`), signUp, ...github, ...(mail && { mail }) };
}

export interface SigningIn {
	/** Ours, as the caller reaches us. */
	readonly publicUrl: string;
	readonly address: string;
	/** These are told before the answer goes out. */
	onNewUser(user: { readonly id: string; readonly name: string }): Promise<void>;
	onSession(user: string, session: string): void;
	/** They can come in by that provider from now on. */
	onLogin(user: string, provider: string): void;
	onReset(user: string): void;
	/** The address is theirs. */
	onVerified(user: { readonly id: string; readonly name: string; readonly email: string }): void;
	/** To be sent. */
	onLetter(letter: Letter): void;
}

/** As the cookie has it; the library puts `__Secure-` before it where there is TLS. */
export const sessionCookie = "skein.session_token";

const sessionDays = 30;
export const codeMinutes = 60;
/** Not the caller's to set: put on by us, whatever came. */
const addressHeader = "x-skein-address";

export async function signIn(
	database: Database,
	settings: SignInSettings,
	request: Request,
	at: SigningIn,
): Promise<Response> {
	const { publicUrl, address, onNewUser } = at;
	const { github } = settings;
	const auth = betterAuth({
		appName: "Skein",
		baseURL: publicUrl,
		basePath: "/api/auth",
		// A page of the host that is asked is none of another site, which may be a cluster's; TLS may have ended before us.
		trustedOrigins: ["https", "http"].map((scheme) => `${scheme}://${new URL(request.url).host}`),
		secret: settings.secret,
		telemetry: { enabled: false },
		logger: { disabled: true },
		rateLimit: { enabled: false },
		database: hashingSessions(
			drizzleAdapter(queriesOn(database), {
				provider: "sqlite",
				schema: { user, session, account: login, verification },
				transaction: false,
			}),
		),
		databaseHooks: {
			user: { create: { after: onNewUser } },
			session: { create: { after: async ({ userId, id }) => at.onSession(userId, id) } },
			account: {
				create: { after: async ({ userId, providerId }) => at.onLogin(userId, providerId) },
			},
		},
		session: { expiresIn: sessionDays * 86_400, disableSessionRefresh: true },
		emailAndPassword: {
			enabled: true,
			minPasswordLength: 10,
			resetPasswordTokenExpiresIn: codeMinutes * 60,
			revokeSessionsOnPasswordReset: true,
			sendResetPassword: async ({ user, token }) =>
				at.onLetter({ kind: "reset", to: user.email, code: token }),
			onPasswordReset: async ({ user }) => at.onReset(user.id),
		},
		emailVerification: {
			sendOnSignUp: settings.mail !== undefined,
			expiresIn: codeMinutes * 60,
			sendVerificationEmail: async ({ user, token }) =>
				at.onLetter({ kind: "verify", to: user.email, token }),
			afterEmailVerification: async (user) => at.onVerified(user),
		},
		user: {
			changeEmail: {
				enabled: true,
				sendChangeEmailConfirmation: async ({ user, newEmail, token }) =>
					at.onLetter({ kind: "change", to: user.email, becoming: newEmail, token }),
			},
		},
		// Codes for a new password, too, are in the database as hashes only.
		verification: { storeIdentifier: "hashed" },
		account: {
			encryptOAuthTokens: true,
			// Whoever signed up with somebody else's address would otherwise be joined by them.
			accountLinking: { disableImplicitLinking: true },
		},
		...(github && {
			socialProviders: { github: { ...github, disableSignUp: settings.signUp !== "open" } },
		}),
		advanced: {
			cookiePrefix: "skein",
			// Also in tests, where the library would not look.
			disableOriginCheck: false,
			ipAddress: { ipAddressHeaders: [addressHeader] },
		},
		plugins: [bearer()],
	});
	const headers = new Headers(request.headers);
	headers.set(addressHeader, address);
	const { method, url } = request;
	const body = method === "POST" ? { body: await request.text() } : {};
	return auth.handler(new Request(url, { method, headers, ...body }));
}

/** A session's token as the database has it. */
export const sessionHash = (token: string) => sha256(`session ${token}`);

type Factory = ReturnType<typeof drizzleAdapter>;
interface Where {
	readonly field: string;
	readonly value: unknown;
}

/** The library keeps the tokens of sessions as they are; here only their hashes reach the database. */
function hashingSessions(factory: Factory): Factory {
	return ((options: Parameters<Factory>[0]) => {
		const adapter = factory(options);
		const hashed = async <Query extends { model: string; where?: readonly Where[] }>(
			query: Query,
		) => {
			if (query.model !== "session" || !query.where) return query;
			const where = await Promise.all(
				query.where.map(async (each) =>
					each.field === "token" ? { ...each, value: await sessionHash(String(each.value)) } : each,
				),
			);
			return { ...query, where };
		};
		const wrapped = {
			...adapter,
			// There are none; what calls this is to come through here all the same.
			transaction: (work: (through: unknown) => unknown) => work(wrapped),
			async create(query: { model: string; data: Record<string, unknown> }) {
				const { token } = query.data;
				if (query.model !== "session") return adapter.create(query as never);
				const data = { ...query.data, token: await sessionHash(String(token)) };
				const made = await adapter.create({ ...query, data } as never);
				return { ...(made as object), token };
			},
			async findOne(query: { model: string; where: readonly Where[] }) {
				const found = await adapter.findOne<object>((await hashed(query)) as never);
				const token =
					query.model === "session" && query.where.find(({ field }) => field === "token");
				return found && token ? { ...found, token: token.value } : found;
			},
			findMany: async (query: never) => adapter.findMany((await hashed(query)) as never),
			update: async (query: never) => adapter.update((await hashed(query)) as never),
			updateMany: async (query: never) => adapter.updateMany((await hashed(query)) as never),
			delete: async (query: never) => adapter.delete((await hashed(query)) as never),
			deleteMany: async (query: never) => adapter.deleteMany((await hashed(query)) as never),
		};
		return wrapped;
	}) as unknown as Factory;
}
