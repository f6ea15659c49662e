// Compose files before Docker reads them, and what it says when it has, as recorded of two of its versions.

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { must } from "../../model/invariant.ts";
import type { Document } from "../../model/service.ts";
import { buildSection, carried, readCompose, unprefixed } from "./compose.ts";
import { answerTo, type Recorded } from "./recorder.ts";
import { imageNameOf, reportOf } from "./stack.ts";

const braced = (words: string) => `\${${words}}`;

const samples = join(import.meta.dir, "samples");

function read(text: string, variables: Readonly<Record<string, string>> = {}) {
	const result = readCompose(text, {
		file: "compose.yaml",
		stack: "shop",
		variables,
		locate: (path) => `/repository/${path}`,
	});
	return { ...result, file: JSON.parse(result.text) };
}

describe("a compose file", () => {
	test("goes to Docker without its builds, whose words come back by services that are none", async () => {
		const text = await Bun.file(join(samples, "compose.yaml")).text();
		const { file, built, env } = read(text, { STAGE: "production", REGION: "north$1" });
		expect(built).toEqual(["web", "worker"]);
		expect(env).toEqual({ SKEIN_V_STAGE: "production", SKEIN_V_REGION: "north$1" });
		const { web, worker } = file.services;
		expect([web.build, web.image, worker.build]).toEqual([
			undefined,
			"skein.local/unbuilt",
			undefined,
		]);
		expect(file.services["skein-build.web"].labels).toEqual({
			context: "./web",
			target: braced("SKEIN_V_STAGE"),
			"arg.VERSION": braced("SKEIN_V_VERSION:-none"),
		});
		expect(web.deploy).toMatchObject({ replicas: 2, update_config: { order: "start-first" } });
	});

	test("has variables of its own and no other's, and Docker's dollars", () => {
		const { file } = read(
			`services: { web: { image: "a:\${TAG}", environment: { A: $HOME, B: 5$$, PATH: , C: }, command: [echo, $$HOME] } }`,
			{ C: "1" },
		);
		expect(file.services.web).toEqual({
			image: `a:${braced("SKEIN_V_TAG")}`,
			environment: { A: "$SKEIN_V_HOME", B: "5$$", C: "1" },
			command: ["echo", "$$HOME"],
		});
		expect(unprefixed("required variable SKEIN_V_TAG is missing")).toBe(
			"required variable TAG is missing",
		);
	});

	test("has its modes in octal, as Docker reads them", () => {
		const { file } = read(`
services:
  web:
    image: a
    secrets: [{ source: s, mode: 0440 }, { source: t, mode: 288 }, { source: u, mode: 0o400 }]
secrets: { s: { file: a/s } }`);
		expect(file.services.web.secrets.map(({ mode }: { mode: number }) => mode)).toEqual([
			0o440, 288, 0o400,
		]);
		expect(file.secrets.s.file).toBe("/repository/a/s");
	});

	test.each([
		["services: [", "compose.yaml: "],
		["[]", "compose.yaml: no compose file"],
		["services: {}", "services: there are none"],
		[
			"services: { a: { build: { dockerfile_inline: FROM a } } }",
			"services.a.build.dockerfile_inline: is not supported",
		],
		[
			"services: { a: { image: b, volumes: ['./data:/data'] } }",
			"services.a.volumes: ./data is a folder of the repository",
		],
		[
			"services: { a: { image: b } }\nsecrets: { s: { file: $HOME/x } }",
			"secrets.s.file: write the path out",
		],
		["services: { a: { image: b, env_file: [7] } }", "services.a.env_file: a path is needed"],
		[
			`a: &a [x,x,x,x,x,x,x,x,x,x]\n${"bcdefg"
				.split("")
				.map((name, index) => `${name}: &${name} [${Array(10).fill(`*${"abcdef"[index]}`)}]`)
				.join("\n")}`,
			"says too much",
		],
	])("%p is refused, with the field's name", (text, message) => {
		expect(() => read(text)).toThrow(message);
	});

	test("of numbers that YAML changes is refused, or told so", () => {
		const environment = (words: string) =>
			read(`services:\n  a:\n    image: b\n    environment:\n      ${words}\n`);
		expect(() => environment("ID: 123456789012345678")).toThrow(
			"compose.yaml: services.a.environment.ID: write so large a number in quotes",
		);
		expect(environment("ID: '123456789012345678'").warnings).toEqual([]);
		expect(environment("ZIP: 01067 # Dresden").warnings).toEqual([
			"ZIP: 01067: read without its first zero: write it in quotes",
		]);
	});

	test("that says what has no effect is told so", () => {
		const { warnings } = read(
			"name: other\nservices: { a: { build: { context: ., cache_from: [x] } } }",
		);
		expect(warnings).toEqual([
			"name: the stack is called shop, as the application says",
			"services.a.build.cache_from is not used",
		]);
	});
});

interface Asked {
	readonly method: string;
	readonly path: string;
	readonly body?: Document;
}

describe.each(["28.2", "20.10"])("docker stack deploy of %s", (version) => {
	const recorded: Recorded = { networks: [], secrets: [], configs: [], services: [] };

	test("finds an empty swarm, and all that it asks for", async () => {
		const asked = (await Bun.file(join(samples, `stack-deploy-${version}.json`)).json()) as Asked[];
		const none = async () => Response.json({ message: "nobody knows" }, { status: 404 });
		const answers: [string, number][] = [];
		for (const { method, path, body } of asked) {
			const sent = body ? { method, body: JSON.stringify(body) } : { method };
			const reply = await answerTo(new Request(`http://swarm${path}`, sent), recorded, none);
			answers.push([path, reply.status]);
		}
		for (const [path, status] of answers) {
			const isMade = path.endsWith("/create");
			const isMissing = /\/(secrets|configs)\/shop_|\/distribution\//.test(path);
			expect([path, status]).toEqual([path, (isMade && 201) || (isMissing && 404) || 200]);
		}
	});

	test("says what the stack is, by names and with the images that were built", () => {
		const real = recorded.services.filter(
			({ Name: name }) => carried(`${name}`.slice("shop_".length)) === undefined,
		);
		const image = `skein.local/shop/web:3f2a@sha256:${"a".repeat(64)}`;
		const report = reportOf("shop", { ...recorded, services: real }, { web: image, worker: image });
		expect(report.networks.map(({ Name: name }) => name)).toEqual(["shop_back"]);
		expect(report.secrets).toMatchObject([{ Name: "shop_password", Data: btoa("pass-word-1\n") }]);
		expect(report.configs).toMatchObject([{ Name: "shop_site", Data: btoa("listen 80\n") }]);
		expect(report.services.map(({ Name: name }) => name)).toEqual([
			"shop_cache",
			"shop_web",
			"shop_worker",
		]);
		const [cache, web, worker] = report.services;
		expect(cache).toMatchObject({ TaskTemplate: { ContainerSpec: { Image: "redis:7" } } });
		expect(web).toMatchObject({
			Labels: {
				"com.docker.stack.namespace": "shop",
				"com.docker.stack.image": image.split("@")[0],
			},
			TaskTemplate: {
				ContainerSpec: {
					Image: image,
					Env: ["COLOUR=red", "PRICE=5$", "REGION=north$1", "STAGE=production"],
					Secrets: [{ SecretName: "license" }, { SecretName: "shop_password" }],
					Configs: [{ ConfigName: "shop_site", File: { Mode: 0o440 } }],
				},
				Networks: [{ Target: "shop_back", Aliases: ["web"] }],
			},
			Mode: { Replicated: { Replicas: 2 } },
			EndpointSpec: { Ports: [{ PublishedPort: 8096, TargetPort: 80 }] },
		});
		expect(JSON.stringify(web)).not.toMatch(/SecretID|ConfigID/);
		expect(worker).toMatchObject({
			TaskTemplate: { Networks: [{ Target: "everybodys" }, { Target: "shop_back" }] },
		});
	});

	test("brings back the build sections, with the variables in them", () => {
		const section = (name: string) => {
			const service = recorded.services.find((each) => each["Name"] === `shop_skein-build.${name}`);
			const template = must(service, "it is there")["TaskTemplate"] as {
				ContainerSpec: { Labels: Record<string, string> };
			};
			return buildSection(template.ContainerSpec.Labels);
		};
		const same = { dockerfile: "Dockerfile", target: "production", args: { VERSION: "none" } };
		expect(section("web")).toEqual({ context: "./web", ...same });
		expect(section("worker")).toEqual({ context: "web", ...same });
	});
});

test("images are named after their services", () => {
	const taken = new Set(["skein.local/shop/web-ui:1"]);
	expect(imageNameOf("skein.local/shop:1", "api", taken)).toBe("skein.local/shop/api:1");
	expect(imageNameOf("skein.local/shop:1", "Web_UI", taken)).toBe("skein.local/shop/web-ui-1:1");
});
