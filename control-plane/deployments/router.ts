// `/api/applications/…`: applications and their deployments, for the command line and for programs.

import { bytesToHex } from "@noble/hashes/utils.js";
import { type Context, Hono } from "hono";
import { z } from "zod";
import type { Application } from "../../model/application.ts";
import { type Build, hasEnded } from "../../model/build.ts";
import type { Change } from "../../model/change.ts";
import type { Deployment } from "../../model/deployment.ts";
import { conflict, invalid, messageOf, notFound, unavailable } from "../../model/errors.ts";
import type { ApplicationId, BuildId, ServiceId } from "../../model/id.ts";
import type { Service, ServiceSpec } from "../../model/service.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { actorOf, bodyOf } from "../accounts/door.ts";
import type { ClusterDoor } from "../cluster.ts";
import { whereOf } from "../forges/where.ts";
import { same } from "../manager/same.ts";
import { isGlob } from "../webhooks/glob.ts";
import { type RefsOf, refsWithin } from "../webhooks/refs.ts";
import type { AppEnv } from "../world.ts";
import { readSpec, specSchema } from "./application.ts";
import { partsOf } from "./builds.ts";
import { handle, newDeployment, nextNumber } from "./deliver.ts";
import { patternOf, previewEnvironment, previewName, servicesOf } from "./previews.ts";
import {
	changedSecrets,
	namesOf,
	readSecrets,
	registryAuthOf,
	type SecretsChange,
	sealSecrets,
	secretsChangeSchema,
} from "./secrets.ts";
import { showApplication, showDelivery, showDeployment } from "./show.ts";
import { tellAnew } from "./tell.ts";

type AppContext = Context<AppEnv>;

export const createSchema = z.strictObject({
	spec: specSchema,
	secrets: secretsChangeSchema.default({}),
});
export const updateSchema = z.strictObject({ spec: specSchema });
export const deploySchema = z
	.strictObject({
		environment: z.string().default("production"),
		/** A branch, a tag or a whole commit; the environment's branch where it names just one. */
		ref: z.string().max(255).optional(),
		/** The number of an earlier deployment: back to exactly that. */
		rollback: z.number().int().optional(),
		/** The number of another environment's deployment: its image here. */
		promote: z.number().int().optional(),
	})
	.refine(({ ref, rollback, promote }) => [ref, rollback, promote].filter(isGiven).length < 2, {
		message: "one of ref, rollback and promote: each says what is to be deployed",
	});

const isGiven = (value: unknown) => value !== undefined;

export function applicationsRouter(): Hono<AppEnv> {
	return new Hono<AppEnv>()
		.get("/api/applications", async (c) => {
			const snapshot = await doorOf(c).snapshot();
			const all = [...snapshot.applications.values()].sort((a, b) =>
				a.spec.name < b.spec.name ? -1 : 1,
			);
			return c.json(all.map((each) => showApplication(each, snapshot, aroundOf(c, each))));
		})
		.post("/api/applications", async (c) => {
			const door = doorOf(c);
			const { spec: asked, secrets: given } = await bodyOf(c, createSchema);
			const spec = readSpec(asked);
			const id = c.env.world.newId() as ApplicationId;
			const webhook = given.webhook ?? [newWebhookSecret()];
			const secrets = changedSecrets({ webhook, build: {}, registries: {} }, given);
			refuseMissing(spec.build.secrets, namesOf(secrets));
			if (secrets.forge) whereOf(spec, c.env.world.forges);
			const content = await sealSecrets(door.contents, id, 1, secrets);
			const { result } = await door.commit((snapshot, { nowMs }) => {
				refuseTaken(snapshot, spec.name);
				const application: Application = {
					id,
					spec,
					specVersion: 1,
					secretsVersion: 1,
					secretNames: namesOf(secrets),
					createdMs: nowMs,
					updatedMs: nowMs,
				};
				return {
					changes: [
						{ kind: "put-application", application },
						{ kind: "put-content", content },
					],
					result: application,
				};
			});
			const shown = showApplication(result, await door.snapshot(), aroundOf(c, result));
			// The one time that it is shown.
			return c.json({ ...shown, webhookSecret: webhook[0] }, 201);
		})
		.get("/api/applications/:name", async (c) => {
			const { snapshot, application } = await found(c);
			return c.json(showApplication(application, snapshot, aroundOf(c, application)));
		})
		.put("/api/applications/:name", async (c) => {
			const { door, application } = await found(c);
			const version = Number(c.req.query("version") ?? application.specVersion);
			const spec = readSpec((await bodyOf(c, updateSchema)).spec);
			refuseMissing(spec.build.secrets, application.secretNames);
			if (application.secretNames.includes("forge")) whereOf(spec, c.env.world.forges);
			const { result } = await door.commit((snapshot, { nowMs }) => {
				const known = find(snapshot, application.id);
				if (known.specVersion !== version) {
					throw conflict(
						`version: ${application.spec.name} was changed meanwhile: look again, and change what it is now`,
					);
				}
				if (spec.name !== known.spec.name) {
					throw invalid("name: an application keeps its name: its images and webhook bear it");
				}
				const next: Application = {
					...known,
					spec,
					specVersion: version + 1,
					updatedMs: nowMs,
				};
				const told = same(known.spec.forge, spec.forge) ? [] : tellAnew(snapshot, known);
				return {
					changes: [
						{ kind: "put-application", application: next },
						...told.map((deployment): Change => ({ kind: "put-deployment", deployment })),
					],
					result: next,
				};
			});
			return c.json(showApplication(result, await door.snapshot(), aroundOf(c, result)));
		})
		.put("/api/applications/:name/secrets", async (c) => {
			const { door, application } = await found(c);
			const change = await bodyOf(c, secretsChangeSchema);
			if (change.forge) whereOf(application.spec, c.env.world.forges);
			const result = await changeSecrets(door, application, change);
			return c.json({ secrets: result.secretNames });
		})
		.delete("/api/applications/:name", async (c) => {
			const { door, snapshot, application } = await found(c);
			await previewsGone(door, application, c.req.raw.signal);
			const logins = await sealedLogins(door, snapshot, application);
			await door.commit((snapshot, { nowMs }) => {
				const known = find(snapshot, application.id);
				const { id } = known;
				const deployments = [...snapshot.deployments.values()].filter(
					(each) => each.application === id,
				);
				refuseUnderWay(snapshot, known);
				const left = loggedInBy(snapshot, application).map(
					(service): Change => ({
						kind: "put-service",
						service: onItsOwn(service, logins.get(service.id)),
					}),
				);
				// Images that services run stay for as long as those run them. Nobody else would remove a preview's.
				const ofPreviews = (known.previews ?? []).flatMap(({ number }) =>
					servicesOf(snapshot, known, number),
				);
				const changes: Change[] = [
					...left,
					...ofPreviews.map(
						(service): Change => ({
							kind: "put-service",
							service: { ...service, removing: true, updatedMs: nowMs },
						}),
					),
					{ kind: "remove-application", id },
					...deployments.map((each): Change => ({ kind: "remove-deployment", id: each.id })),
				];
				return { changes, result: undefined };
			});
			return c.body(null, 204);
		})
		.get("/api/applications/:name/deployments", async (c) => {
			const { snapshot, application } = await found(c);
			const environment = c.req.query("environment");
			const all = deploymentsOf(snapshot, application)
				.filter((each) => environment === undefined || each.environment === environment)
				.toSorted((a, b) => b.number - a.number);
			return c.json(all.map((each) => showDeployment(each, snapshot)));
		})
		.post("/api/applications/:name/deployments", async (c) => {
			const { door, application } = await found(c);
			const asked = await bodyOf(c, deploySchema);
			const deployment = await deploy(c, door, application, asked);
			return c.json(showDeployment(deployment, await door.snapshot()), 201);
		})
		.get("/api/applications/:name/deployments/:number", async (c) => {
			const { snapshot, deployment } = await foundDeployment(c);
			return c.json(showDeployment(deployment, snapshot));
		})
		.post("/api/applications/:name/deployments/:number/cancel", async (c) => {
			const { door, deployment } = await foundDeployment(c);
			await door.commit((snapshot) => {
				const known = snapshot.deployments.get(deployment.id);
				if (!known) throw notFound("this deployment is gone");
				if (known.outcome !== null) {
					throw conflict(`deployment #${known.number} has ended: ${known.outcome}`);
				}
				if (known.phase === "rolling") {
					throw conflict(
						`deployment #${known.number} is rolling: roll back instead (docker skein app rollback ${c.req.param("name")})`,
					);
				}
				return put({ ...known, cancelledBy: actorOf(c).name });
			});
			return c.body(null, 204);
		})
		.get("/api/applications/:name/deployments/:number/log", async (c) => {
			const { door, snapshot, deployment } = await foundDeployment(c);
			const id = deployment.build;
			if (id === null) {
				throw notFound(
					`deployment #${deployment.number} built nothing: it took an image that was there`,
				);
			}
			const log = async (part: BuildId) => {
				const kept = await door.inbox.log(part);
				return kept === undefined ? followed(c, snapshot, part) : c.text(kept);
			};
			const build = snapshot.builds.get(id);
			const parts = build ? partsOf(snapshot, build) : [];
			return parts.length > 1 ? inTurn(parts, log) : log(id);
		})
		.get("/api/applications/:name/deliveries", async (c) => {
			const { door, application } = await found(c);
			return c.json((await door.inbox.list(application.id)).map(showDelivery));
		})
		.post("/api/applications/:name/deliveries/:key/replay", async (c) => {
			const { door, application } = await found(c);
			const all = await door.inbox.list(application.id);
			const delivery = all.find(({ key }) => key === c.req.param("key"));
			if (!delivery)
				throw notFound("there is no such delivery: `docker skein app deliveries` lists them");
			// A key of its own, so that it is handled although it was.
			const again = { ...delivery, key: `${delivery.key}#${c.env.world.nowMs()}` };
			return c.json({ outcome: await handle(door, again, refsWithin(c.env.world.forges)) });
		});
}

function doorOf(c: AppContext): ClusterDoor {
	const door = c.get("cluster");
	if (door) return door;
	throw notFound("there is no cluster here: docker swarm init makes one");
}

async function found(c: AppContext) {
	const door = doorOf(c);
	const snapshot = await door.snapshot();
	return { door, snapshot, application: find(snapshot, c.req.param("name") ?? "") };
}

async function foundDeployment(c: AppContext) {
	const there = await found(c);
	const number = Number(c.req.param("number"));
	const deployment = deploymentsOf(there.snapshot, there.application).find(
		(each) => each.number === number,
	);
	if (deployment) return { ...there, deployment };
	throw notFound(
		`${there.application.spec.name} has no deployment #${c.req.param("number")}: docker skein app ps ${there.application.spec.name} lists those that are kept`,
	);
}

/** By name or id. */
function find(snapshot: Snapshot, asked: string): Application {
	const known =
		snapshot.applications.get(asked as ApplicationId) ??
		[...snapshot.applications.values()].find(({ spec }) => spec.name === asked);
	if (known) return known;
	throw notFound(`no such application: ${asked}: docker skein app ls lists them`);
}

const deploymentsOf = ({ deployments }: Snapshot, { id }: Application) =>
	[...deployments.values()].filter(({ application }) => application === id);

function refuseUnderWay(snapshot: Snapshot, application: Application): void {
	const open = deploymentsOf(snapshot, application).find(({ outcome }) => outcome === null);
	if (!open) return;
	throw conflict(
		`deployment #${open.number} is under way: wait for it, or cancel it (docker skein app cancel ${application.spec.name} ${open.number})`,
	);
}

/** As long as most containers take to stop. */
const windDownMs = 30_000;

/** What stacks leave behind is known by the application alone: it outlasts them, where they stop in time. */
async function previewsGone(
	door: ClusterDoor,
	{ id, spec }: Application,
	signal: AbortSignal,
): Promise<void> {
	if (spec.build.compose === undefined) return;
	await door.commit((snapshot) => {
		const known = find(snapshot, id);
		refuseUnderWay(snapshot, known);
		const previews = (known.previews ?? []).map((each) => ({
			...each,
			over: each.over ?? "the application was removed",
		}));
		if (previews.length === 0) return { changes: [], result: undefined };
		const application: Application = { ...known, previews };
		return { changes: [{ kind: "put-application", application }], result: undefined };
	});
	const untilMs = Date.now() + windDownMs;
	while (!signal.aborted && Date.now() < untilMs) {
		const snapshot = await door.snapshot();
		const seq = door.seq();
		if (!snapshot.applications.get(id)?.previews?.some(({ over }) => over)) return;
		await door.wait(seq, untilMs - Date.now(), signal);
	}
}

function refuseTaken({ applications }: Snapshot, name: string): void {
	if (![...applications.values()].some(({ spec }) => spec.name === name)) return;
	throw conflict(`name: there is an application ${name} already`);
}

function refuseMissing(wanted: readonly string[], there: readonly string[]): void {
	const missing = wanted.find((name) => !there.includes(`build.${name}`));
	if (missing === undefined) return;
	throw invalid(
		`build.secrets: there is no secret ${missing}: give it with secrets.build, or leave its name out`,
	);
}

async function changeSecrets(
	door: ClusterDoor,
	application: Application,
	change: SecretsChange,
): Promise<Application> {
	const secrets = changedSecrets(await readSecrets(door.contents, application), change);
	refuseMissing(application.spec.build.secrets, namesOf(secrets));
	const version = application.secretsVersion + 1;
	const content = await sealSecrets(door.contents, application.id, version, secrets);
	const { result } = await door.commit((snapshot, { nowMs }) => {
		const known = find(snapshot, application.id);
		if (known.secretsVersion !== application.secretsVersion) {
			throw conflict("somebody else changed the secrets just now: try again");
		}
		const next: Application = {
			...known,
			secretsVersion: version,
			secretNames: namesOf(secrets),
			updatedMs: nowMs,
		};
		return {
			changes: [
				{ kind: "put-application", application: next },
				{ kind: "put-content", content },
				...(change.forge ? tellAnew(snapshot, known) : []).map(
					(deployment): Change => ({ kind: "put-deployment", deployment }),
				),
			],
			result: next,
		};
	});
	return result;
}

async function deploy(
	c: AppContext,
	door: ClusterDoor,
	application: Application,
	asked: z.output<typeof deploySchema>,
): Promise<Deployment> {
	const { environment: name, rollback, promote } = asked;
	const { environment, preview } = named(application, name);
	const actor = actorOf(c).name;
	const from = rollback ?? promote;
	const ref =
		from === undefined
			? await resolved(
					door,
					application,
					asked.ref ?? onlyBranch(environment.branches),
					refsWithin(c.env.world.forges),
				)
			: undefined;
	const { result } = await door.commit((snapshot, moment) => {
		const number = nextNumber(snapshot, application);
		const words = { environment: name, number, ...(preview && { preview }) };
		if (ref) {
			const said = { ...ref, message: "", author: "" };
			const cause = { kind: "manual", actor } as const;
			return put(newDeployment(moment, application, { ...words, ...said, cause }));
		}
		const source = deploymentsOf(snapshot, application).find((each) => each.number === from);
		const field = rollback === undefined ? "promote" : "rollback";
		if (!source) throw notFound(`${field}: there is no deployment #${from}`);
		if (source.image === "" && !source.stack) {
			throw invalid(`${field}: deployment #${from} has no image: it was never built`);
		}
		const { commit, ref: of, message, author, image, stack } = source;
		if (field === "promote") {
			const cause = { kind: "promotion", from: source.id, actor } as const;
			// A compose file is read anew, with this environment's variables; its images are there.
			const said = { commit, ref: of, message, author, image, cause };
			return put(newDeployment(moment, application, { ...words, ...said }));
		}
		if (source.environment !== name) {
			throw invalid(
				`rollback: deployment #${from} was one of ${source.environment}: promote it, or name that environment`,
			);
		}
		if (!source.made && !source.services) {
			throw invalid(
				`rollback: deployment #${from} changed nothing: there is nothing to go back to`,
			);
		}
		const cause = { kind: "rollback", to: source.id, actor } as const;
		const made = stack ? { stack } : { image, made: source.made };
		const said = { commit, ref: of, message, author, ...made, cause };
		return put(newDeployment(moment, application, { ...words, ...said }));
	});
	return result;
}

const put = (deployment: Deployment) => ({
	changes: [{ kind: "put-deployment", deployment } as const],
	result: deployment,
});

/** One that is deployed to: a preview while it is there, and not what previews are made after. */
function named(application: Application, name: string) {
	const { spec, previews = [] } = application;
	const pattern = patternOf(spec);
	const found = previews.find(({ number, over }) => previewName(number) === name && !over);
	if (pattern && found) {
		const { number, branch, isFork } = found;
		const environment = {
			...previewEnvironment(pattern, number),
			branches: isFork ? [] : [branch],
		};
		return { environment, preview: { number, isFork } };
	}
	const environment = spec.environments.find((each) => each.name === name);
	if (environment && environment !== pattern) return { environment };
	const names = [
		...spec.environments.filter((each) => each !== pattern).map((each) => each.name),
		...previews.map(({ number }) => previewName(number)),
	].join(", ");
	throw invalid(
		environment
			? `environment: ${name} is what previews are made after: name one of them, or another environment: ${names}`
			: `environment: ${spec.name} has no ${name}: it has ${names}`,
	);
}

function onlyBranch(branches: readonly string[]): string {
	const [only, ...more] = branches;
	if (only !== undefined && more.length === 0 && !isGlob(only)) return only;
	throw invalid(
		"ref: name a branch, a tag or a commit: the environment does not name just one branch",
	);
}

/** A branch's or tag's commit, as the repository says now. A whole commit needs no asking. */
async function resolved(
	door: ClusterDoor,
	application: Application,
	ref: string,
	refsOf: RefsOf,
): Promise<{ readonly ref: string; readonly commit: string }> {
	if (/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(ref)) return { ref, commit: ref };
	const { login } = await readSecrets(door.contents, application);
	const refs = await refsOf(
		application.spec.repository,
		login ? { username: login.user, password: login.password } : null,
	);
	for (const full of [ref, `refs/heads/${ref}`, `refs/tags/${ref}`]) {
		const commit = refs.get(full);
		if (commit) return { ref: full, commit };
	}
	throw notFound(`ref: the repository has no branch and no tag ${ref}`);
}

const loggedInBy = ({ services }: Snapshot, { id }: Application) =>
	[...services.values()].filter(
		({ spec, previous }) => spec.loginOf === id || previous?.spec.loginOf === id,
	);

/** What its services go on pulling with when it is gone. */
async function sealedLogins(
	{ contents, credentials }: ClusterDoor,
	snapshot: Snapshot,
	application: Application,
): Promise<ReadonlyMap<ServiceId, string>> {
	const sealed = new Map<ServiceId, string>();
	for (const { id, spec } of loggedInBy(snapshot, application)) {
		const login = await registryAuthOf(contents, application, spec.template.container.image);
		if (login !== undefined) sealed.set(id, await credentials.seal(login));
	}
	return sealed;
}

function onItsOwn(service: Service, sealed: string | undefined): Service {
	const own = ({ loginOf: _, ...spec }: ServiceSpec): ServiceSpec => ({
		...spec,
		...(sealed !== undefined && { registryAuth: sealed }),
	});
	const { spec, previous } = service;
	return {
		...service,
		spec: own(spec),
		previous: previous && { ...previous, spec: own(previous.spec) },
	};
}

/** From the node that builds, as it goes on. */
async function followed(c: AppContext, snapshot: Snapshot, id: BuildId): Promise<Response> {
	const build = snapshot.builds.get(id);
	if (!build) throw notFound("this build's log is gone");
	if (build.node === null) return c.text(`${build.status.error || "waiting for a node"}\n`);
	if (hasEnded(build.status.state)) return c.text(`${build.status.lines.join("\n")}\n`);
	const follow = c.req.query("follow") !== "false";
	const answer = await c
		.get("askNode")(
			build.node,
			{ build: id, asked: { kind: "build-log", follow } },
			{
				signal: c.req.raw.signal,
			},
		)
		.catch((cause: unknown) => {
			throw unavailable("the node that builds does not answer just now: try again", { cause });
		});
	return new Response(answer.body, { headers: { "Content-Type": "text/plain; charset=utf-8" } });
}

/** One log after the other, as each goes on. */
function inTurn(parts: readonly Build[], log: (id: BuildId) => Promise<Response>): Response {
	async function* read() {
		const encoder = new TextEncoder();
		for (const { id, architecture } of parts) {
			yield encoder.encode(`--- linux/${architecture}\n`);
			try {
				const { body } = await log(id);
				if (body) yield* body;
			} catch (error) {
				yield encoder.encode(`${messageOf(error)}\n`);
			}
		}
	}
	const bytes = read();
	const body = new ReadableStream<Uint8Array>({
		async pull(to) {
			const { done, value } = await bytes.next();
			if (value) to.enqueue(value);
			if (done) to.close();
		},
		async cancel() {
			await bytes.return();
		},
	});
	return new Response(body, { headers: { "Content-Type": "text/plain; charset=utf-8" } });
}

const aroundOf = (c: AppContext, { id }: Application) => ({
	webhook: `${c.get("publicUrl")}/webhooks/${doorOf(c).id}/${id}`,
	reach: c.env.world.forges,
});

function newWebhookSecret(): string {
	return bytesToHex(crypto.getRandomValues(new Uint8Array(24)));
}
