// A node's name server with as many services as told, three tasks each: `bun serve.ts PORT SERVICES`.

import { DnsServer } from "../../edge-agent/dns/server.ts";
import { zone } from "../../edge-agent/dns/zone.ts";
import { assignmentOf } from "../../edge-agent/vip/scene.test-data.ts";

const [port, services] = process.argv.slice(2).map(Number);
const server = new DnsServer({ port: port ?? 53 });
const numbers = Array.from({ length: services ?? 0 }, (_, at) => at);
const address = (block: number, at: number) => `10.${block}.${at >> 8}.${at & 255}`;
server.serve(
	zone(
		assignmentOf(
			{
				nodes: 3,
				networks: [
					{
						name: "blue",
						vni: 5,
						at: Object.fromEntries(
							numbers.flatMap((at) => [2, 3, 4].map((block) => [address(block, at), block - 1])),
						),
						services: numbers.map((at) => ({
							name: `web${at}`,
							vip: address(1, at),
							backends: [2, 3, 4].map((block) => address(block, at)),
						})),
					},
				],
			},
			1,
		),
	),
);
const problems = await server.ensureListening(["127.0.0.1"]);
if (problems.length > 0) throw new Error(problems.join("\n"));
