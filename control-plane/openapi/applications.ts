// Described: applications and their deployments, and the door that forges knock at.

import { z } from "zod";
import { buildRankOf } from "../../model/build.ts";
import { phases } from "../../model/deployment.ts";
import { specSchema } from "../deployments/application.ts";
import { createSchema, deploySchema, updateSchema } from "../deployments/router.ts";
import { secretsChangeSchema } from "../deployments/secrets.ts";
import type { Group } from "./describe.ts";
import { time } from "./people.ts";

for (const [id, schema] of Object.entries({
	ApplicationSpec: specSchema,
	ApplicationSecrets: secretsChangeSchema,
	NewApplication: createSchema,
	NewDeployment: deploySchema,
})) {
	z.globalRegistry.add(schema, { id });
}

const begun = z.array(z.object({ phase: z.string(), at: time }));

const cause = z.object({
	kind: z.enum(["push", "pull-request", "poll", "manual", "rollback", "promotion"]),
	delivery: z.string().optional().describe("of a push: the delivery's key"),
	number: z.int().optional().describe("of a pull request"),
	actor: z.string().optional().describe("whose wish it was"),
	to: z.string().optional().describe("of a rollback: the deployment's id"),
	from: z.string().optional().describe("of a promotion: the deployment's id"),
});

const outcome = z
	.enum(["succeeded", "failed", "rolled back", "superseded", "cancelled", "unchanged"])
	.nullable()
	.describe("null while it is under way");

const build = z.object({
	id: z.string(),
	node: z.string().nullable(),
	state: z.enum(Object.keys(buildRankOf) as [string]),
	bytes: z.int(),
	times: begun,
});

const deployment = z
	.object({
		id: z.string(),
		number: z.int().describe("counts the application's, from 1"),
		environment: z.string(),
		cause,
		commit: z.string(),
		ref: z.string(),
		message: z.string(),
		author: z.string(),
		phase: z.enum(phases),
		outcome,
		reason: z.string().describe("why it ended so, or what it waits for"),
		lines: z.array(z.string()).describe("the last of the step that failed"),
		image: z.string().describe("with its digest, once it is known; empty of a compose file"),
		services: z
			.array(z.object({ name: z.string(), image: z.string(), outcome }))
			.optional()
			.describe("of a compose file, once it is built"),
		told: z
			.object({ said: z.string().nullable(), error: z.string() })
			.nullable()
			.describe("what its forge was told of it last; null where there is none to tell"),
		build: build.nullable(),
		builds: z
			.array(build.extend({ platform: z.string().meta({ examples: ["linux/arm64"] }) }))
			.optional()
			.describe("of an image for several architectures, one for each; build is the first"),
		times: begun.describe("when each phase began"),
	})
	.meta({ id: "Deployment" });

const application = z
	.object({
		id: z.string(),
		version: z.int().describe("counts changes: what ?version= is compared with"),
		spec: specSchema,
		secrets: z.array(z.string()).describe("their names"),
		webhook: z.string().describe("its address"),
		forge: z
			.object({
				name: z.string(),
				api: z.string(),
				project: z.string(),
				deployment: z.int().nullable().describe("the last that it was told of"),
				said: z.string().nullable(),
				error: z.string().describe("what is wrong with telling it"),
			})
			.nullable()
			.describe("who is told how deployments go"),
		environments: z.array(
			z.object({
				name: z.string(),
				service: z.string(),
				deployment: deployment.nullable().describe("the newest"),
				preview: z
					.object({
						pullRequest: z.int(),
						branch: z.string(),
						title: z.string(),
						until: time.describe("when it goes, unless somebody pushes"),
					})
					.optional()
					.describe("of one that is a pull request's"),
			}),
		),
		createdAt: time,
		updatedAt: time,
	})
	.meta({ id: "Application" });

const delivery = z
	.object({
		key: z.string(),
		forge: z.string(),
		name: z.string().describe("as the forge's own pages name it"),
		at: time,
		events: z.array(z.looseObject({ kind: z.string() })),
		outcome: z
			.array(z.string())
			.nullable()
			.describe("a sentence for each event and environment; null while nothing was made of it"),
	})
	.meta({ id: "Delivery" });

export const applications: Group = {
	name: "Applications",
	about:
		"A repository, how an image is made of it, and the services that run that image. Of a cluster.",
	routes: {
		"GET /api/applications": {
			does: "List the applications",
			answers: { 200: z.array(application) },
		},
		"POST /api/applications": {
			does: "Make an application",
			body: createSchema,
			answers: {
				201: application.extend({
					webhookSecret: z.string().describe("shown this once"),
				}),
			},
		},
		"GET /api/applications/:name": {
			does: "Look at an application",
			answers: { 200: application },
		},
		"PUT /api/applications/:name": {
			does: "Change an application's spec",
			query: z.object({
				version: z.int().optional().describe("as it was looked at: 409 when somebody was quicker"),
			}),
			body: updateSchema,
			answers: { 200: application },
		},
		"DELETE /api/applications/:name": {
			does: "Forget an application; its services go on running, but for its previews'",
			answers: { 204: null },
		},
		"PUT /api/applications/:name/secrets": {
			does: "Change an application's secrets",
			more: "What is null goes, what is absent stays. Nobody is shown more than their names.",
			body: secretsChangeSchema,
			answers: { 200: z.object({ secrets: z.array(z.string()) }) },
		},
		"GET /api/applications/:name/deployments": {
			does: "List an application's deployments, the newest first",
			query: z.object({ environment: z.string().optional() }),
			answers: { 200: z.array(deployment) },
		},
		"POST /api/applications/:name/deployments": {
			does: "Deploy a ref, go back to a deployment, or promote another environment's",
			body: deploySchema,
			answers: { 201: deployment },
		},
		"GET /api/applications/:name/deployments/:number": {
			does: "Look at a deployment",
			answers: { 200: deployment },
		},
		"POST /api/applications/:name/deployments/:number/cancel": {
			does: "End a deployment that does not roll yet",
			answers: { 204: null },
		},
		"GET /api/applications/:name/deployments/:number/log": {
			does: "What a deployment's build prints",
			more: "Live while it is built.",
			query: z.object({
				follow: z.enum(["true", "false"]).optional().describe("false: what there is"),
			}),
			answers: { 200: { media: "text/plain" } },
		},
		"GET /api/applications/:name/deliveries": {
			does: "What forges told, and what was made of it",
			answers: { 200: z.array(delivery) },
		},
		"POST /api/applications/:name/deliveries/:key/replay": {
			does: "Handle a delivery once more",
			answers: { 200: z.object({ outcome: z.array(z.string()) }) },
		},
	},
};

export const webhooks: Group = {
	name: "Webhooks",
	about: "For forges: docs/webhooks.md says what to fill in there.",
	routes: {
		"POST /webhooks/:cluster/:application": {
			does: "Tell of a push",
			more: "In the form of GitHub, GitLab, Gitea, Forgejo, Bitbucket, or of hook.sh. Signed with one of the application's webhook secrets, as each of them does; a delivery that came before is not carried out again.",
			path: { cluster: "The cluster's id.", application: "The application's id." },
			body: { media: "application/json" },
			answers: {
				202: z.object({ message: z.string(), delivery: z.string() }),
				200: z.object({ message: z.string() }).describe("it came before"),
			},
		},
	},
};
