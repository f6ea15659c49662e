import { describe, expect, test } from "bun:test";
import type { Application, Environment } from "../../model/application.ts";
import type { Deployment } from "../../model/deployment.ts";
import type { Service } from "../../model/service.ts";
import { Little } from "../../test/build.ts";
import { longestDescription } from "../forges/forge.ts";
import { sayingOf } from "./saying.ts";
import { urlComplaint } from "./url.ts";

const environment = { name: "production", service: "web", url: "" } as Environment;
const application = { id: "app", spec: { name: "web" } } as Application;
const deployment = {
	id: "d1",
	application: "app",
	environment: "production",
	number: 7,
	commit: "c".repeat(40),
	ref: "refs/heads/feature/New_Door",
	phase: "queued",
	outcome: null,
	reason: "",
} as unknown as Deployment;

const said = (words: Partial<Deployment>, of: Partial<Environment> = {}, little = new Little(1)) =>
	sayingOf(little.facts, application, { ...environment, ...of }, { ...deployment, ...words }, "");

test.each<[Partial<Deployment>, string, string]>([
	[{}, "queued", "Queued"],
	[{ phase: "building" }, "running", "Building"],
	[{ phase: "rolling" }, "running", "Rolling out"],
	[{ phase: "ended", outcome: "succeeded" }, "succeeded", "Deployed"],
	[
		{ phase: "ended", outcome: "failed", reason: "build: exit\n\tcode \u0007 2" },
		"failed",
		"Failed: build: exit code 2",
	],
	[
		{ phase: "ended", outcome: "superseded", reason: "#8 came before it was built" },
		"stopped",
		"Superseded: #8 came before it was built",
	],
])("%j is %s: %s", (words, state, description) => {
	expect(said(words)).toMatchObject({ state, description, context: "skein/web/production" });
});

test("what is long is cut between characters", () => {
	const { description } = said({ phase: "ended", outcome: "failed", reason: "🧵".repeat(200) });
	expect(description.length).toBeLessThanOrEqual(longestDescription);
	expect(description.isWellFormed()).toBe(true);
	expect(description).toEndWith("🧵…");
});

test("of two deployments of one commit the later speaks for it", () => {
	const little = new Little(1);
	little.facts.setDeployment({ ...deployment, id: "d2", number: 8 } as Deployment);
	expect(said({}, {}, little).isOvertaken).toBe(true);
	expect(said({ number: 9 }, {}, little).isOvertaken).toBe(false);
});

describe("the address", () => {
	const url = "https://{branch}-{commit}.example.com:{port}/{environment}";

	test("waits for the port that is chosen", () => {
		const little = new Little(1);
		expect(said({}, { url }, little).url).toBe("");
		little.facts.setService({
			...little.create("web"),
			ports: [{ protocol: "tcp", published: 30_004, target: 80, mode: "ingress" }],
		} as unknown as Service);
		expect(said({}, { url }, little).url).toBe(
			"https://feature-new-door-cccccccccccc.example.com:30004/production",
		);
	});

	test.each([
		["", null],
		["https://example.com", null],
		["https://{branch}.example.com:{port}/", null],
		["http://192.0.2.1:{port}", null],
		["https://{colour}.example.com", "knows no {colour}"],
		["javascript:alert(1)", "must be https://"],
		["{branch}", "must be https://"],
	])("%s: %p", (template, complaint) => {
		const found = urlComplaint(template);
		if (complaint === null) expect(found).toBeNull();
		else expect(found).toContain(complaint);
	});
});
