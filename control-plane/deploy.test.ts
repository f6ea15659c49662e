import { describe, expect, test } from "bun:test";
import { deployment } from "./deploy.ts";

const environment = {
	SKEIN_DATABASE_URL: "libsql://directory.example.com",
	SKEIN_URL: "https://skein.example.com",
	SKEIN_FILES_URL: "https://files.example.com",
};
const files = [{ name: "agent.js", sha256: "ab".repeat(32) }];
const there = new Set(["SKEIN_KEY", "SKEIN_TOKEN", "SKEIN_DATABASE_TOKEN"]);

describe("a deployment", () => {
	test("names everything that is not set, with what it is", () => {
		const { problems } = deployment({}, new Set(), files);
		expect(problems.map((each) => each.split(" ")[0])).toEqual([
			"SKEIN_DATABASE_URL",
			"SKEIN_URL",
			"SKEIN_FILES_URL",
			"SKEIN_KEY",
			"SKEIN_TOKEN",
			"SKEIN_DATABASE_TOKEN",
		]);
		expect(problems[3]).toContain("openssl rand");
	});

	test("refuses an address with a path", () => {
		const { problems } = deployment({ ...environment, SKEIN_URL: "https://a.org/x" }, there, files);
		expect(problems).toEqual(["SKEIN_URL: https://a.org/x is not https://HOST, without a path"]);
	});

	test("gives wrangler the variables, the files under their sums, and the addresses", () => {
		const given = deployment(
			{ ...environment, SKEIN_DOCKER_HOST: "docker.example.com", SKEIN_TOKEN: "t" },
			there,
			files,
		);
		expect(given).toEqual({
			problems: [],
			arguments: [
				...["--var", "SKEIN_DATABASE_URL:libsql://directory.example.com"],
				...["--var", "SKEIN_URL:https://skein.example.com"],
				...["--var", "SKEIN_DOCKER_HOST:docker.example.com"],
				"--var",
				`SKEIN_INSTALL_FILES:agent.js ${"ab".repeat(32)} https://files.example.com/abababababababab/agent.js`,
				...["--domain", "skein.example.com"],
				...["--route", "*.docker.example.com/*"],
			],
			secrets: { SKEIN_TOKEN: "t" },
		});
	});
});
