// The WireGuard interface of the mesh: key, interface, peers. What is encrypted inside is vxlan.ts's.
//
// The kernel's WireGuard where it has one, `wireguard-go` where not, started again when it has died. A peer's
// endpoint that works is left alone, since WireGuard follows a peer that moves by itself; one that does not is
// replaced by the peer's next candidate.

import { chmod, mkdir, readdir, readFile, readlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { messageOf } from "../../model/errors.ts";
import { meshInterface } from "../../model/mesh.ts";
import type { Exec } from "../host/exec.ts";
import { readLinks } from "./links.ts";
import type { Mesh, MeshPeer } from "./topology.ts";

export interface WireGuard {
	/** Makes the interface and its peers so. `silent`: public keys of peers that do not answer. Says why they may not. */
	ensure(mesh: Mesh, nowMs: number, silent: ReadonlySet<string>): Promise<string[]>;
}

/** `dir` holds the private key: see `ensureKey`. */
export function createWireGuard(exec: Exec, dir: string): WireGuard {
	/** When each peer was last led to another endpoint. */
	const rotated = new Map<string, number>();
	return {
		async ensure(mesh, nowMs, silent) {
			await ensureInterface(exec, mesh);
			const seen = parseDump(await exec("wg", ["show", meshInterface, "dump"]));
			const privateKey = (await readFile(keyFile(dir), "utf8")).trim();
			const endpoints = new Map<string, string>();
			for (const peer of mesh.peers) {
				const endpoint = nextEndpoint(peer, seen.peers.get(peer.publicKey), {
					nowMs,
					rotatedMs: rotated.get(peer.publicKey) ?? 0,
					silent: silent.has(peer.publicKey),
				});
				if (endpoint === null) continue;
				endpoints.set(peer.publicKey, endpoint);
				rotated.set(peer.publicKey, nowMs);
			}
			const problems = diagnose(mesh, seen, nowMs, silent);
			if (endpoints.size === 0 && isSame(mesh, privateKey, seen)) return problems;
			// A file, since `wg` opens it by name; it names the key, and is as secret.
			const conf = join(dir, "wireguard.conf");
			await writeFile(conf, showConf(mesh, privateKey, endpoints), { mode: 0o600 });
			await exec("wg", ["syncconf", meshInterface, conf]);
			return problems;
		},
	};
}

export const keyFile = (dir: string) => join(dir, "wireguard.key");

/** The machine's key pair, made once. The private key never leaves `dir`. */
export async function ensureKey(exec: Exec, dir: string): Promise<{ publicKey: string }> {
	const path = keyFile(dir);
	await mkdir(dir, { recursive: true, mode: 0o700 });
	const known = await readFile(path, "utf8").catch(() => "");
	if (known.trim() === "") {
		await writeFile(path, await exec("wg", ["genkey"]), { mode: 0o600 });
	}
	await chmod(path, 0o600);
	const privateKey = await readFile(path, "utf8");
	return { publicKey: (await exec("wg", ["pubkey"], { input: privateKey })).trim() };
}

/** Which WireGuard this machine will use. `none`: neither, and the mesh cannot be. */
export async function wireguardKind(exec: Exec): Promise<"kernel" | "userspace" | "none"> {
	const works = (command: string, args: readonly string[]) =>
		exec(command, args).then(
			() => true,
			() => false,
		);
	const trial = "skein-trial";
	if (await works("ip", ["link", "add", trial, "type", "wireguard"])) {
		await exec("ip", ["link", "del", trial]);
		return "kernel";
	}
	return (await works("wireguard-go", ["--version"])) ? "userspace" : "none";
}

async function ensureInterface(exec: Exec, mesh: Mesh): Promise<void> {
	const find = async () => (await readLinks(exec)).find(({ name }) => name === meshInterface);
	let link = await find();
	if (!link) {
		await create(exec);
		link = await find();
	}
	if (!link) throw new Error(`${meshInterface} is not there, though it was just made`);
	const address = `${mesh.address}/${mesh.prefix}`;
	const lines = link.addresses
		.filter((other) => other !== address)
		.map((other) => `address del ${other} dev ${meshInterface}`);
	if (!link.addresses.includes(address)) {
		lines.push(`address add ${address} dev ${meshInterface}`);
	}
	if (link.mtu !== mesh.mtu || !link.up) {
		lines.push(`link set dev ${meshInterface} mtu ${mesh.mtu} up`);
	}
	if (lines.length > 0) await exec("ip", ["-batch", "-"], { input: `${lines.join("\n")}\n` });
}

async function create(exec: Exec): Promise<void> {
	try {
		await exec("ip", ["link", "add", meshInterface, "type", "wireguard"]);
		return;
	} catch (cause) {
		// It puts itself into the background; a session of its own keeps our terminal's signals from it.
		await exec("setsid", ["wireguard-go", meshInterface]).catch((error) => {
			throw new Error(
				`no WireGuard: the kernel has none (${messageOf(cause)}) and wireguard-go does not run ` +
					`(${messageOf(error)}): apt-get install wireguard-go`,
				{ cause },
			);
		});
	}
}

/** Ends our own wireguard-go, if there is one: of this network namespace, for our interface. */
export async function stopWireguardGo(): Promise<void> {
	for (const pid of await wireguardGoPids()) process.kill(pid, "SIGTERM");
}

export async function wireguardGoPids(): Promise<number[]> {
	const here = await readlink("/proc/self/ns/net");
	const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
	const ours = async (pid: string) => {
		const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
		if (!/(^|\/)wireguard-go\0/.test(command) || !command.includes(`\0${meshInterface}\0`)) {
			return false;
		}
		return (await readlink(`/proc/${pid}/ns/net`).catch(() => "")) === here;
	};
	const found = await Promise.all(
		pids.map(async (pid) => ((await ours(pid)) ? [Number(pid)] : [])),
	);
	return found.flat();
}

// From here on, pure.

export interface SeenPeer {
	/** Null while WireGuard knows none. */
	readonly endpoint: string | null;
	readonly allowedIps: string;
	/** 0 for never. */
	readonly handshakeMs: number;
	readonly keepaliveS: number;
}

export interface SeenMesh {
	readonly privateKey: string;
	readonly port: number;
	readonly peers: ReadonlyMap<string, SeenPeer>;
}

/** Reads `wg show NAME dump`: a line for the interface, then one per peer, fields between tabs. */
export function parseDump(text: string): SeenMesh {
	const [own = "", ...lines] = text.trim().split("\n");
	const [privateKey = "", , port = "0"] = own.split("\t");
	const peers = lines.map((line): [string, SeenPeer] => {
		const [key = "", , endpoint = "", allowedIps = "", handshake = "0", , , keepalive = ""] =
			line.split("\t");
		return [
			key,
			{
				endpoint: endpoint === "(none)" ? null : endpoint,
				allowedIps: allowedIps === "(none)" ? "" : allowedIps,
				handshakeMs: Number(handshake) * 1000,
				keepaliveS: keepalive === "off" ? 0 : Number(keepalive),
			},
		];
	});
	return { privateKey, port: Number(port), peers: new Map(peers) };
}

/** WireGuard gives up on an NAT's mapping after less than this only where the NAT is broken. */
const keepaliveS = 25;
/** Sessions with traffic shake hands every 120 s, and try for a while: later than this, nobody answers. */
const staleMs = 140_000;
/** WireGuard tries a handshake every 5 s: each candidate gets two of them. */
const patienceMs = 11_000;

/** The endpoint to set now, or null to leave it as it is. */
export function nextEndpoint(
	peer: Pick<MeshPeer, "endpoints">,
	seen: Pick<SeenPeer, "endpoint" | "handshakeMs"> | undefined,
	facts: { readonly nowMs: number; readonly rotatedMs: number; readonly silent: boolean },
): string | null {
	const [first] = peer.endpoints;
	if (first === undefined) return null;
	if (!seen || seen.endpoint === null) return first;
	const shookHands = facts.nowMs - seen.handshakeMs < staleMs;
	if (shookHands && !facts.silent) return null;
	if (facts.nowMs - facts.rotatedMs < patienceMs) return null;
	const at = peer.endpoints.indexOf(seen.endpoint);
	const next = peer.endpoints[(at + 1) % peer.endpoints.length] ?? first;
	return next === seen.endpoint ? null : next;
}

/** Which layer is broken between us and each silent peer, as far as one end can tell. */
export function diagnose(
	mesh: Mesh,
	seen: SeenMesh,
	nowMs: number,
	silent: ReadonlySet<string>,
): string[] {
	return mesh.peers
		.filter(({ publicKey, down }) => silent.has(publicKey) && !down)
		.map(({ hostname, publicKey, endpoints, meshAddress }) => {
			const peer = seen.peers.get(publicKey);
			if (endpoints.length === 0) {
				return `node ${hostname} has not told where it can be reached: run its install line again with --advertise-addr`;
			}
			if (!peer || nowMs - peer.handshakeMs >= staleMs) {
				return (
					`node ${hostname} does not answer at ${endpoints.join(", ")}: it is off, or UDP does not pass; ` +
					`let UDP to its port and to our ${mesh.port} pass`
				);
			}
			return (
				`node ${hostname} answers WireGuard and not the mesh: its agent is stopped, or a firewall on either node ` +
				`drops what comes in on ${meshInterface}; let it pass (ping ${meshAddress})`
			);
		});
}

export function isSame(mesh: Mesh, privateKey: string, seen: SeenMesh): boolean {
	return (
		seen.privateKey === privateKey &&
		seen.port === mesh.port &&
		seen.peers.size === mesh.peers.length &&
		mesh.peers.every(({ publicKey, meshAddress }) => {
			const peer = seen.peers.get(publicKey);
			return peer?.allowedIps === `${meshAddress}/32` && peer.keepaliveS === keepaliveS;
		})
	);
}

/** For `wg syncconf`, which leaves an endpoint that is not named as it is, and sessions alive. */
export function showConf(
	mesh: Mesh,
	privateKey: string,
	endpoints: ReadonlyMap<string, string>,
): string {
	const peers = mesh.peers.map(({ publicKey, meshAddress }) => {
		const endpoint = endpoints.get(publicKey);
		return [
			"[Peer]",
			`PublicKey = ${publicKey}`,
			`AllowedIPs = ${meshAddress}/32`,
			`PersistentKeepalive = ${keepaliveS}`,
			...(endpoint === undefined ? [] : [`Endpoint = ${endpoint}`]),
		].join("\n");
	});
	const own = `[Interface]\nPrivateKey = ${privateKey}\nListenPort = ${mesh.port}`;
	return `${[own, ...peers].join("\n\n")}\n`;
}
