import { describe, expect, test } from "bun:test";
import type { MaterialId, NetworkId } from "../../model/id.ts";
import type { FileReference } from "../../model/material.ts";
import type { PortSpec } from "../../model/service.ts";
import { taskOf } from "./template.test-data.ts";
import { expandTemplate, readerOf, type TemplateSite } from "./template.ts";

const ingress = "n0" as NetworkId;
const front = "n1" as NetworkId;
const back = "n2" as NetworkId;
const port = (published: number, target: number, mode: PortSpec["mode"]): PortSpec => ({
	name: "",
	protocol: "tcp",
	published,
	target,
	mode,
});

const task = taskOf({
	container: { env: ["DSN=host={{.Node.Hostname}}", "EMPTY="] },
	attachments: [
		{ network: ingress, address: "10.0.0.5" },
		{ network: front, address: "10.0.1.5" },
		{ network: back, address: "10.0.2.5" },
	],
	hostPorts: [port(8080, 80, "host"), port(0, 443, "host")],
});
const site: TemplateSite = {
	node: {
		id: "node1",
		hostname: "h1",
		os: "linux",
		architecture: "x86_64",
		address: "192.168.77.1",
	},
	networks: [
		{
			id: ingress,
			name: "ingress",
			ingress: true,
			endpoints: [
				{
					service: task.service.id,
					name: "web",
					aliases: [],
					vip: null,
					backends: [],
					ports: [{ protocol: "udp", published: 30_001, target: 53 }],
				},
			],
		},
		{ id: front, name: "front", ingress: false, endpoints: [] },
		{ id: back, name: "back", ingress: false, endpoints: [] },
	],
};
const read = readerOf(task, () => undefined);

test.each([
	["{{.Node.Address}}", "192.168.77.1"],
	["{{.Task.Address}}", "10.0.1.5"],
	['{{.Task.Address "back"}}', "10.0.2.5"],
	["http://{{.Node.Address}}:{{.Task.Port 80}}/", "http://192.168.77.1:8080/"],
	['{{ .Task.Port "53/udp" }}', "30001"],
	["a {{- .Task.Slot -}} b", "a1b"],
	["a {{- /* why */ -}} b", "ab"],
	["a {{- .Task.Slot }} b", "a1 b"],
	['{{"{{"}} literally', "{{ literally"],
	["{{`{{`}}", "{{"],
	["{{ never closed", "{{ never closed"],
	["$1 $& {{.Task.Slot}}", "$1 $& 1"],
])("%s", (text, want) => expect(expandTemplate(text, task, site)).toBe(want));

test.each([
	["{{.Task.Colour}}", "no such template field"],
	["{{ printf `x` }}", "no such template field"],
	["{{ if .Task.Slot }}", "no such template field"],
	["{{ .Task.Slot | x }}", "not understood"],
	['{{env "DSN"}}', "no such template field"],
	['{{secret "pw"}}', "no such template field"],
	['{{.Task.Address "other"}}', "not in the network of that name"],
	["{{.Task.Port 9}}", "does not publish that port"],
	["{{.Task.Port 443}}", "in host mode the engine chooses"],
	["{{.Task.Port}}", "takes the port in the container"],
])("%s is refused", (text, why) => {
	expect(() => expandTemplate(text, task, site)).toThrow(why);
});

test("a task in no network has no address", () => {
	expect(() => expandTemplate("{{.Task.Address}}", taskOf({}), site)).toThrow("attach it to one");
});

describe("in a secret or a config", () => {
	const file = (kind: FileReference["kind"], name: string, target: string): FileReference => ({
		kind,
		name,
		target,
		material: `${name}0` as MaterialId,
		version: 1,
		uid: 0,
		gid: 0,
		mode: 0o444,
		templating: false,
	});
	const files = [
		file("secret", "db_pw_v2", "/run/secrets/pw"),
		file("config", "conf", "/etc/conf"),
	];
	const uses = taskOf({ container: { files, env: task.template.container.env } });
	const reader = readerOf(uses, ({ target }) => `<${target}>`);

	test.each([
		['{{secret "pw"}}', "</run/secrets/pw>"],
		['{{secret "db_pw_v2"}}', "</run/secrets/pw>"],
		['{{config "/etc/conf"}} {{config "conf"}}', "</etc/conf> </etc/conf>"],
		['{{env "DSN"}}|{{env "EMPTY"}}|{{env "NONE"}}', "host=h1||"],
	])("%s", (text, want) => expect(expandTemplate(text, uses, site, reader)).toBe(want));

	test("what the task has not is refused, without the text around it", () => {
		const failing = () => expandTemplate('hunter2 {{config "pw"}}', uses, site, reader);
		expect(failing).toThrow("the task has no config of that name among its files");
		expect(failing).not.toThrow("hunter2");
		expect(read("secret", "pw")).toBeUndefined();
	});
});
