// DNS: queries a second of a node's name server, beside dnsmasq with the same names, each in its own process.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Row } from "./row.ts";

export const name = "dns";

const rounds = 3;
const services = 1000;
const port = 15_353;

export async function run(): Promise<Row[]> {
	const dir = mkdtempSync(join(tmpdir(), "skein-bench-"));
	try {
		const ours = await measure("web7", startOurs);
		const tasks = await measure("tasks.web7", startOurs);
		const rows: Row[] = [
			{ what: "name server, a VIP", value: ours, unit: "queries/s", note: `${services} services` },
			{ what: "name server, tasks.NAME", value: tasks, unit: "queries/s", note: "3 addresses" },
		];
		if (Bun.which("dnsmasq") === null) return rows;
		const others = await measure("web7", () => startDnsmasq(dir));
		const what = "dnsmasq, the same names";
		return [...rows, { what, value: others, unit: "queries/s", note: times(ours / others) }];
	} finally {
		rmSync(dir, { recursive: true });
	}
}

const times = (ratio: number) => `ours is ${ratio.toFixed(2)} times that`;

/** The middle of a few rounds. */
async function measure(asked: string, start: () => Bun.Subprocess): Promise<number> {
	const server = start();
	try {
		const rates: number[] = [];
		for (let round = 0; round < rounds; round++) rates.push(await send(asked));
		return rates.sort((a, b) => a - b)[rounds >> 1] ?? Number.NaN;
	} finally {
		server.kill();
		await server.exited;
	}
}

async function send(asked: string): Promise<number> {
	const script = join(import.meta.dir, "dns", "send.ts");
	const sender = Bun.spawn([process.execPath, script, String(port), asked], { stdout: "pipe" });
	const rate = Number(await new Response(sender.stdout).text());
	if (!(rate > 0)) throw new Error("the sender heard nothing");
	return rate;
}

function startOurs(): Bun.Subprocess {
	const script = join(import.meta.dir, "dns", "serve.ts");
	return Bun.spawn([process.execPath, script, String(port), String(services)]);
}

function startDnsmasq(dir: string): Bun.Subprocess {
	const hosts = join(dir, "hosts");
	const lines = Array.from({ length: services }, (_, at) => `10.1.${at >> 8}.${at & 255} web${at}`);
	writeFileSync(hosts, `${lines.join("\n")}\n`);
	const quiet = ["--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--pid-file="];
	const where = ["--listen-address=127.0.0.1", "--bind-interfaces", `--port=${port}`];
	// Its own limit is for its own safety, not for a race.
	const limits = ["--dns-forward-max=10000", "--cache-size=10000", "--user=root"];
	const keep = ["--keep-in-foreground", `--addn-hosts=${hosts}`];
	return Bun.spawn(["dnsmasq", ...keep, ...quiet, ...where, ...limits]);
}
