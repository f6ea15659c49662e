// What a compose file out of a fork may say, and what becomes of a preview's ports and labels.

import { describe, expect, test } from "bun:test";
import type { Document } from "../../model/service.ts";
import type { ReportedStack } from "../../model/stack.ts";
import { withFreePorts } from "./freeports.ts";
import { refuseReach, withoutLabels } from "./strangers.ts";

const labels = { "com.docker.stack.namespace": "s" };
const image = `skein.local/shop/web:1@sha256:${"a".repeat(64)}`;

/** As Docker's command line sends it, with a little of each that is harmless. */
function told(container: Document = {}, task: Document = {}, words: Document = {}): ReportedStack {
	return {
		networks: [{ Name: "s_back", Driver: "overlay", IPAM: null, ConfigFrom: null, Labels: labels }],
		secrets: [{ Name: "s_key", Labels: labels, Data: "" }],
		configs: [],
		services: [
			{
				Name: "s_web",
				Labels: labels,
				TaskTemplate: {
					ContainerSpec: {
						Image: image,
						Privileges: { CredentialSpec: null, NoNewPrivileges: false },
						Mounts: [
							{
								Type: "volume",
								Source: "s_data",
								Target: "/data",
								VolumeOptions: { Labels: labels },
							},
							{ Type: "tmpfs", Target: "/tmp" },
						],
						Secrets: [{ SecretName: "s_key", File: { Name: "key" } }],
						DNSConfig: {},
						...container,
					},
					Networks: [{ Target: "s_back", Aliases: ["web"] }],
					Placement: {},
					...task,
				},
				EndpointSpec: {},
			},
		],
		images: { web: image },
		...words,
	};
}

describe("out of a fork", () => {
	test("a stack that keeps to itself is taken", () => {
		expect(() => refuseReach("s", told())).not.toThrow();
		expect(() => refuseReach("s", told({ Image: "redis:7", CapabilityAdd: [] }))).not.toThrow();
	});

	const mount = (words: Document) => told({ Mounts: [{ Type: "volume", Target: "/x", ...words }] });
	const options = (Options: Document) => ({ VolumeOptions: { DriverConfig: { Options } } });
	test.each<[string, ReportedStack, string]>([
		["a folder of the node", mount({ Type: "bind", Source: "/" }), "Mounts.Type: bind"],
		["another's volume", mount({ Source: "shop_data" }), "Mounts.Source: shop_data"],
		[
			"a folder in a volume's clothes",
			mount({ Source: "s_x", ...options({ type: "none", o: "bind", device: "/" }) }),
			"Mounts.VolumeOptions.DriverConfig: leave it out",
		],
		["a secret", told({ Secrets: [{ SecretName: "key" }] }), "SecretName: key"],
		["a config", told({ Configs: [{ ConfigName: "site" }] }), "ConfigName: site"],
		["a network", told({}, { Networks: [{ Target: "shop_back" }] }), "Target: shop_back"],
		["the node's network", told({}, { Networks: [{ Target: "host" }] }), "Target: host"],
		["another's image", told({ Image: image.replace("shop", "other") }), "ContainerSpec.Image: "],
		["capabilities", told({ CapabilityAdd: ["SYS_ADMIN"] }), "CapabilityAdd: leave it out"],
		["a log driver", told({}, { LogDriver: { Name: "syslog" } }), "LogDriver: leave it out"],
		["what nobody knows yet", told({ Devices: ["/dev/sda"] }), "Devices: leave it out"],
		[
			"a network of a name of its own",
			told({}, {}, { networks: [{ Name: "prod", Driver: "overlay", Labels: labels }] }),
			"compose: networks: prod: leave its name out",
		],
		[
			"a subnet",
			told(
				{},
				{},
				{ networks: [{ Name: "s_back", IPAM: { Config: [{ Subnet: "10.0.0.0/8" }] } }] },
			),
			"compose: network s_back.IPAM: leave it out",
		],
	])("%s is refused", (_what, stack, message) => {
		expect(() => refuseReach("s", stack)).toThrow(message);
	});

	test("labels are Docker's alone", () => {
		const all = { ...labels, "traefik.enable": "true" };
		const service = {
			Name: "s_web",
			Labels: all,
			TaskTemplate: { ContainerSpec: { Labels: all } },
		};
		expect(withoutLabels(service)).toEqual({
			Name: "s_web",
			Labels: labels,
			TaskTemplate: { ContainerSpec: { Labels: labels } },
		});
	});
});

test("a preview's ports are whichever are free, and it says so", () => {
	const ports = [
		{ TargetPort: 80, PublishedPort: 8080, PublishMode: "ingress" },
		{ TargetPort: 81 },
	];
	const service = { Name: "s_web", EndpointSpec: { Mode: "vip", Ports: ports } };
	const { document, warnings } = withFreePorts(service);
	expect(document["EndpointSpec"]).toEqual({
		Mode: "vip",
		Ports: [{ TargetPort: 80, PublishMode: "ingress" }, { TargetPort: 81 }],
	});
	expect(warnings).toEqual([
		expect.stringContaining("service s_web: a preview publishes no port 8080 but one that is free"),
	]);
	const none = { Name: "s_db", EndpointSpec: {} };
	expect(withFreePorts(none)).toEqual({ document: none, warnings: [] });
});
