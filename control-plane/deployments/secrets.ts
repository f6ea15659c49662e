// What an application must know and nobody is shown: one content, sealed as secrets are, of which the snapshot has the
// version and the names.

import { z } from "zod";
import type { Application } from "../../model/application.ts";
import type { Build, BuildSecrets } from "../../model/build.ts";
import type { ApplicationId, MaterialId } from "../../model/id.ts";
import { loginFor } from "../../model/image.ts";
import { contentKey, type SealedContent } from "../../model/material.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { toBase64 } from "../accounts/base64.ts";
import type { Contents } from "../cluster.ts";

const text = z.string().max(64 * 1024);
const login = z.strictObject({ user: text.min(1), password: text.min(1) });
/** They stand in a header's line. */
const word = z
	.string()
	.regex(/^[\x21-\x7e]{1,4096}$/, "must be printable characters without blanks");
const forge = z.strictObject({ token: word, user: word.optional() });

export const secretsSchema = z.strictObject({
	/** All that are valid: while one takes another's place, two. */
	webhook: z.array(text.min(16)).min(1).max(4),
	login: login.optional(),
	ssh: z.strictObject({ key: text.min(1), knownHosts: text.min(1) }).optional(),
	/** To tell the forge how deployments go. */
	forge: forge.optional(),
	build: z.record(z.string().regex(/^[A-Za-z0-9_.-]{1,64}$/), text),
	registries: z.record(text, z.strictObject({ username: text, password: text })),
});

export type ApplicationSecrets = z.infer<typeof secretsSchema>;

/** What may be changed: what is null goes, what is absent stays. */
export const secretsChangeSchema = z.strictObject({
	webhook: z.array(text.min(16)).min(1).max(4).optional(),
	login: login.nullish(),
	ssh: z.strictObject({ key: text.min(1), knownHosts: text.min(1) }).nullish(),
	forge: forge.nullish(),
	build: z.record(z.string().regex(/^[A-Za-z0-9_.-]{1,64}$/), text.nullable()).optional(),
	registries: z
		.record(text, z.strictObject({ username: text, password: text }).nullable())
		.optional(),
});

export type SecretsChange = z.infer<typeof secretsChangeSchema>;

export function changedSecrets(known: ApplicationSecrets, change: SecretsChange) {
	const { login: knownLogin, ssh: knownSsh, forge: knownForge, ...rest } = known;
	const nextLogin = change.login === undefined ? knownLogin : change.login;
	const nextSsh = change.ssh === undefined ? knownSsh : change.ssh;
	const nextForge = change.forge === undefined ? knownForge : change.forge;
	return {
		...rest,
		...(change.webhook && { webhook: change.webhook }),
		build: without({ ...known.build, ...change.build }),
		registries: without({ ...known.registries, ...change.registries }),
		...(nextLogin && { login: nextLogin }),
		...(nextSsh && { ssh: nextSsh }),
		...(nextForge && { forge: nextForge }),
	};
}

function without<Value>(record: Readonly<Record<string, Value | null>>): Record<string, Value> {
	return Object.fromEntries(
		Object.entries(record).filter((entry): entry is [string, Value] => entry[1] !== null),
	);
}

/** What there is, for whoever may not see it. */
export function namesOf(secrets: ApplicationSecrets): readonly string[] {
	return [
		"webhook",
		...(secrets.login ? ["login"] : []),
		...(secrets.ssh ? ["ssh"] : []),
		...(secrets.forge ? ["forge"] : []),
		...Object.keys(secrets.build).map((name) => `build.${name}`),
		...Object.keys(secrets.registries).map((name) => `registries.${name}`),
	];
}

const nameOf = (id: ApplicationId, version: number) => ({
	material: id as string as MaterialId,
	version,
});

export function sealSecrets(
	contents: Contents,
	id: ApplicationId,
	version: number,
	secrets: ApplicationSecrets,
): Promise<SealedContent> {
	return contents.seal(nameOf(id, version), new TextEncoder().encode(JSON.stringify(secrets)));
}

export async function readSecrets(
	contents: Contents,
	{ id, secretsVersion }: Pick<Application, "id" | "secretsVersion">,
): Promise<ApplicationSecrets> {
	const name = nameOf(id, secretsVersion);
	const found = (await contents.read([name])).get(contentKey(name));
	if (!found) throw new Error(`the secrets of application ${id} are not there`);
	return secretsSchema.parse(JSON.parse(new TextDecoder().decode(found)));
}

/** The application's login at the image's registry, as `X-Registry-Auth`; undefined where it has none. */
export async function registryAuthOf(
	contents: Contents,
	application: Pick<Application, "id" | "secretsVersion" | "secretNames">,
	image: string,
): Promise<string | undefined> {
	if (!application.secretNames.some((name) => name.startsWith("registries."))) return undefined;
	const login = loginFor((await readSecrets(contents, application)).registries, image);
	// Of base64url's two alphabets Go's, which fills up the end.
	return (
		login &&
		toBase64(new TextEncoder().encode(JSON.stringify(login)))
			.replaceAll("+", "-")
			.replaceAll("/", "_")
	);
}

/** For the node that builds, and no more than this build takes. */
export function secretsFor(
	{ id, of = id, recipe }: Pick<Build, "id" | "of" | "recipe">,
	{ login: user, ssh, build, registries }: ApplicationSecrets,
	{ deployments }: Pick<Snapshot, "deployments">,
): BuildSecrets {
	// Their Dockerfile would name what else there is in a registry, and read it.
	const isStrangers = [...deployments.values()].some(
		(each) => each.build === of && each.preview?.isFork,
	);
	const wanted = Object.entries(build).filter(([name]) => recipe.secrets.includes(name));
	return {
		...(user && { login: user }),
		...(ssh && { ssh }),
		secrets: Object.fromEntries(wanted),
		registries: isStrangers ? {} : registries,
	};
}
