// Overlay networks between Docker's JSON and ours.

import { z } from "zod";
import { macOf, parseAddress, parseRange, showRange } from "../../../model/cidr.ts";
import { invalid } from "../../../model/errors.ts";
import type { NetworkId, NodeId } from "../../../model/id.ts";
import { type Network, vipHolder } from "../../../model/network.ts";
import { nodeName } from "../../../model/node.ts";
import type { Document } from "../../../model/service.ts";
import type { Snapshot } from "../../../model/snapshot.ts";
import { type Task, taskName } from "../../../model/task.ts";
import { isTerminal } from "../../../model/taskstate.ts";
import { badArgument } from "../errors.ts";
import { timestamp } from "./time.ts";

const text = z.string();
const map = z.record(text, text);

export const networkSchema = z
	.looseObject({
		Name: text,
		Driver: text,
		Scope: text,
		CheckDuplicate: z.boolean(),
		EnableIPv4: z.boolean(),
		EnableIPv6: z.boolean(),
		Internal: z.boolean(),
		Attachable: z.boolean(),
		Ingress: z.boolean(),
		ConfigOnly: z.boolean(),
		ConfigFrom: z.looseObject({ Network: text }).partial(),
		IPAM: z
			.looseObject({
				Driver: text,
				Options: map,
				Config: z.array(
					z
						.looseObject({ Subnet: text, IPRange: text, Gateway: text, AuxiliaryAddresses: map })
						.partial(),
				),
			})
			.partial(),
		Options: map,
		Labels: map,
	})
	.partial();

export type NetworkDocument = z.infer<typeof networkSchema>;

/** What the user decides of a network; the rest is the allocator's and the door's. */
export type AskedNetwork = Pick<
	Network,
	"name" | "subnet" | "internal" | "attachable" | "labels" | "options" | "document"
> & { readonly warning: string };

const encrypted = "encrypted";
const mtu = "com.docker.network.driver.mtu";

export function fromEngine(asked: NetworkDocument): AskedNetwork {
	const name = asked.Name ?? "";
	checkName(name);
	checkKind(asked, name);
	const options = asked.Options ?? {};
	for (const option of Object.keys(options)) {
		if (option === encrypted || option === mtu) continue;
		throw badArgument(
			`network option ${JSON.stringify(option)} is not supported on overlays: leave it out` +
				(option.includes("bridge") ? " (it is one of the bridge driver's)" : ""),
		);
	}
	const { Config: configs = [], Driver: ipam = "default" } = asked.IPAM ?? {};
	if (ipam !== "default" && ipam !== "") {
		throw badArgument(`IPAM driver ${JSON.stringify(ipam)} is not supported: use the default one`);
	}
	if (configs.length > 1) {
		throw badArgument(
			`an overlay has one subnet here, ${configs.length} were given: create a network for each`,
		);
	}
	const config = configs[0] ?? {};
	const warnings = [
		...(options[mtu] === undefined ? [] : ["the MTU is computed from the nodes' paths, not set"]),
		...(config.Gateway
			? ["every node has its own address in the network; --gateway is unused"]
			: []),
	];
	return {
		name,
		subnet: subnetOf(config),
		internal: asked.Internal ?? false,
		attachable: asked.Attachable ?? false,
		labels: asked.Labels ?? {},
		options,
		document: asked,
		warning: warnings.join("; "),
	};
}

function checkName(name: string): void {
	if (name === "") throw badArgument("meta: name must be provided");
	if (!/^[a-zA-Z0-9](?:[-_.]*[A-Za-z0-9]+)*$/.test(name) || name.length > 63) {
		throw badArgument("name must be valid as a DNS name component");
	}
}

function checkKind(asked: NetworkDocument, name: string): void {
	const driver = asked.Driver ?? "";
	if (driver === "") {
		throw badArgument("driver name: if driver is specified name is required");
	}
	if (driver !== "overlay") {
		throw invalid(
			`a network of driver ${JSON.stringify(driver)} lives on one machine: ` +
				`use "docker network create -d overlay ${name}", or create it on the machine itself`,
		);
	}
	if (!["", "swarm", "global"].includes(asked.Scope ?? "")) {
		throw invalid(
			`invalid network scope ${JSON.stringify(asked.Scope)}: overlays are of scope swarm`,
		);
	}
	if (asked.ConfigOnly || asked.ConfigFrom?.Network) {
		throw badArgument("config-only networks are not supported: give the overlay its own settings");
	}
	if (asked.Ingress) {
		throw badArgument(
			"the routing mesh has its network already, and it can not be replaced: leave out --ingress",
		);
	}
	if (asked.EnableIPv6) {
		throw badArgument("IPv6 is not supported in overlay networks yet: leave out --ipv6");
	}
	if (asked.EnableIPv4 === false) {
		throw badArgument("an overlay network needs IPv4: leave out --ipv4=false");
	}
}

function subnetOf(config: {
	readonly Subnet?: string | undefined;
	readonly IPRange?: string | undefined;
	readonly Gateway?: string | undefined;
	readonly AuxiliaryAddresses?: Readonly<Record<string, string>> | undefined;
}): string {
	if (config.IPRange) {
		throw badArgument("--ip-range is not supported: the whole subnet is given out; leave it out");
	}
	if (Object.keys(config.AuxiliaryAddresses ?? {}).length > 0) {
		throw badArgument("--aux-address is not supported: leave it out");
	}
	if (!config.Subnet) {
		if (config.Gateway) throw badArgument("--gateway needs a --subnet");
		return "";
	}
	if (config.Subnet.includes(":")) {
		throw badArgument(
			`IPv6 subnets are not supported yet (${config.Subnet}): give an IPv4 one, or none`,
		);
	}
	const range = config.Subnet.includes("/") ? parseRange(config.Subnet) : undefined;
	if (!range) throw badArgument(`invalid subnet ${config.Subnet}: invalid CIDR block notation`);
	const subnet = showRange(range);
	if (subnet !== config.Subnet) {
		throw badArgument(
			`invalid subnet ${config.Subnet}: it should be ${subnet} (host bits are set)`,
		);
	}
	if (range.prefix < 8 || range.prefix > 29) {
		throw badArgument(
			`invalid subnet ${subnet}: an overlay takes /8 to /29, room for nodes, tasks and the service`,
		);
	}
	if (config.Gateway && parseAddress(config.Gateway) === undefined) {
		throw badArgument(`invalid gateway ${JSON.stringify(config.Gateway)}: no IPv4 address`);
	}
	return subnet;
}

// --- and back

/** As in Docker, a list does not say what is in each network: looking that up for all of them is dear. */
export function toEngine(
	network: Network,
	snapshot: Snapshot,
	detail: "listed" | "inspected" | "verbose",
): Document {
	const here =
		detail === "listed"
			? []
			: [...snapshot.tasks.values()].filter((task) => isIn(task, network.id));
	return {
		Name: network.name,
		Id: network.id,
		Created: timestamp(network.createdMs),
		Scope: "swarm",
		Driver: "overlay",
		EnableIPv4: true,
		EnableIPv6: false,
		IPAM: {
			Driver: "default",
			Options: {},
			Config: network.subnet === "" ? [] : [{ Subnet: network.subnet, ...gatewayOf(network) }],
		},
		Internal: network.internal,
		Attachable: network.attachable,
		Ingress: network.ingress,
		ConfigFrom: { Network: "" },
		ConfigOnly: false,
		Containers: detail === "listed" ? {} : containersOf(network, here, snapshot),
		Options: {
			"com.docker.network.driver.overlay.vxlanid_list": `${network.vni}`,
			...network.options,
		},
		Labels: network.labels,
		...(detail === "verbose" && {
			Peers: peersOf(here, snapshot),
			Services: servicesOf(network, here, snapshot),
		}),
	};
}

/** A gateway is shown where its user gave one. */
function gatewayOf(network: Network): { Gateway?: string } {
	const [config] = (network.document as NetworkDocument).IPAM?.Config ?? [];
	return config?.Gateway ? { Gateway: config.Gateway } : {};
}

const isIn = (task: Task, network: NetworkId) =>
	!isTerminal(task.status.state) &&
	task.status.containerId !== "" &&
	task.attachments.some((attachment) => attachment.network === network);

function containersOf(network: Network, tasks: readonly Task[], snapshot: Snapshot): Document {
	const [, prefix = "32"] = network.subnet.split("/");
	const shown = (name: string, endpoint: string, address: string) => ({
		Name: name,
		EndpointID: endpoint,
		MacAddress: macOf(address),
		IPv4Address: `${address}/${prefix}`,
		IPv6Address: "",
	});
	const ours = tasks.flatMap((task) =>
		task.attachments
			.filter((attachment) => attachment.network === network.id)
			.map(({ address }) => [
				task.status.containerId,
				shown(taskName(serviceName(task, snapshot), task), task.id, address),
			]),
	);
	const theirs = attachedTo(network, snapshot).map(({ container }) => [
		container.containerId,
		shown(container.name, container.containerId, container.address),
	]);
	return Object.fromEntries([...ours, ...theirs]);
}

const serviceName = (task: Task, snapshot: Snapshot) =>
	snapshot.services.get(task.service)?.spec.name ?? task.service;

/** What people run in it with plain `docker run --network`, on whichever node. */
export function attachedTo(network: Network, snapshot: Snapshot) {
	return [...snapshot.nodes.values()].flatMap((node) =>
		node.attached
			.filter((container) => container.network === network.id)
			.map((container) => ({ node, container })),
	);
}

function peersOf(tasks: readonly Task[], snapshot: Snapshot): Document[] {
	const nodes = new Set(tasks.map((task) => task.node));
	return [...snapshot.nodes.values()]
		.filter((node) => nodes.has(node.id))
		.map((node) => ({ Name: nodeName(node), IP: node.description.addresses[0] ?? "" }));
}

function servicesOf(network: Network, tasks: readonly Task[], snapshot: Snapshot): Document {
	const groups = Map.groupBy(tasks, (task) => task.service);
	const hostIp = (node: NodeId | null) =>
		(node && snapshot.nodes.get(node)?.description.addresses[0]) ?? "";
	return Object.fromEntries(
		[...groups].map(([id, members]) => {
			const service = snapshot.services.get(id);
			const tasksHere = members.map((task) => ({
				Name: taskName(service?.spec.name ?? id, task),
				EndpointID: task.id,
				EndpointIP:
					task.attachments.find((attachment) => attachment.network === network.id)?.address ?? "",
				Info: { "Host IP": hostIp(task.node) },
			}));
			const shown = {
				VIP: snapshot.leaseOf(network.id, vipHolder(id))?.address ?? "",
				Ports: (service?.ports ?? []).map(
					(port) => `Target: ${port.target}, Publish: ${port.published}`,
				),
				LocalLBIndex: 0,
				Tasks: tasksHere,
			};
			return [service?.spec.name ?? id, shown];
		}),
	);
}

export function showNetworkOfTask(snapshot: Snapshot, id: NetworkId, address: string): Document[] {
	const network = snapshot.networks.get(id);
	if (!network) return [];
	const [, prefix = "32"] = network.subnet.split("/");
	return [
		{
			Network: {
				ID: id,
				Version: { Index: 1 },
				CreatedAt: timestamp(network.createdMs),
				UpdatedAt: timestamp(network.createdMs),
				Spec: {
					Name: network.name,
					Labels: network.labels,
					DriverConfiguration: { Name: "overlay", Options: network.options },
					...(network.internal && { Internal: true }),
					...(network.attachable && { Attachable: true }),
					...(network.ingress && { Ingress: true }),
					IPAMOptions: { Driver: { Name: "default" } },
					Scope: "swarm",
				},
				DriverState: {
					Name: "overlay",
					Options: { "com.docker.network.driver.overlay.vxlanid_list": `${network.vni}` },
				},
				IPAMOptions: { Driver: { Name: "default" }, Configs: [{ Subnet: network.subnet }] },
			},
			Addresses: [`${address}/${prefix}`],
		},
	];
}
