// A machine's Docker engine: containers that take their time, and break. It answers what the agent asks of it, in the
// engine's own paths and words, and goes on with what it was asked for whether or not who asked is still there.

import { type Docker, DockerError, type DockerEvent } from "../../edge-agent/host/docker.ts";
import type { EngineListener } from "../../edge-agent/host/engine.ts";
import { label } from "../../edge-agent/task/container.ts";
import type { TaskId } from "../../model/id.ts";
import { Broken } from "./broken.ts";
import type { Clock } from "./clock.ts";
import { behaviourOf } from "./images.ts";
import type { Process } from "./process.ts";
import type { Dice } from "./random.ts";

export interface Container {
	readonly Id: string;
	readonly Name: string;
	readonly Created: number;
	readonly Labels: Readonly<Record<string, string>>;
	readonly task: TaskId;
	readonly image: string;
	readonly addresses: readonly string[];
	readonly hasHealthcheck: boolean;
	state: "created" | "running" | "exited";
	exitCode: number;
	health: "none" | "starting" | "healthy" | "unhealthy";
	/** How often it was started. */
	runs: number;
}

export interface SimulatedEngine {
	containers(): readonly Container[];
	/** Something is being made, started or stopped. */
	isBusy(): boolean;
	/** For one agent, which learns of events while it listens and lives. Undefined while the engine is away. */
	docker(process: Process): Docker | undefined;
	listen(process: Process, listener: EngineListener): void;
	/** A container ends by itself. */
	exit(container: Container, exitCode: number): void;
	sicken(container: Container): void;
	/** All containers end at once. */
	powerOff(): void;
	/** The engine is away for so long; its containers go on, or not. */
	restart(downMs: number, endsContainers: boolean): void;
	remove(id: string): void;
}

export interface EngineWorld {
	readonly clock: Clock;
	readonly dice: Dice;
	faulty(): boolean;
	happened(what: string): void;
	/** The agent asks for the stop of a container that runs. */
	stopping(container: Container): void;
	/** A container runs. */
	started(container: Container): void;
	/** It could not be started, ended by itself, or will never be healthy. */
	failed(container: Container): void;
}

interface Body {
	readonly Image: string;
	readonly Labels: Readonly<Record<string, string>>;
	readonly Healthcheck?: unknown;
	readonly NetworkingConfig: {
		readonly EndpointsConfig: Readonly<
			Record<string, { readonly IPAMConfig: { readonly IPv4Address: string } }>
		>;
	};
}

export function simulatedEngine(world: EngineWorld): SimulatedEngine {
	const { clock, dice } = world;
	const containers = new Map<string, Container>();
	const images = new Set<string>();
	let listening: { readonly process: Process; readonly listener: EngineListener } | undefined;
	let [up, life, orders, made] = [true, 0, 0, 0];

	const find = (id: string) => {
		const found = containers.get(id);
		if (!found) throw new DockerError(404, `No such container: ${id}`);
		return found;
	};
	const tell = (Action: string, { Id, Labels }: Container) => {
		// One event in ten is missed.
		if (!listening || !up || (world.faulty() && dice.chance(0.1))) return;
		const { process, listener } = listening;
		const event: DockerEvent = {
			Type: "container",
			Action,
			Actor: { ID: Id, Attributes: Labels },
			timeNano: clock.nowMs() * 1e6,
		};
		process.after(dice.between(0, 20), () => listener.event(event));
	};
	const ended = (container: Container, exitCode: number) => {
		if (container.state !== "running") return;
		container.state = "exited";
		container.exitCode = exitCode;
		tell("die", container);
	};

	/** The order reaches the engine; what it comes to is answered when it is done, unless the engine went meanwhile. */
	function order<Answer>(
		process: Process,
		ms: number,
		begin: () => void,
		done: () => Answer,
	): Promise<Answer> {
		const born = life;
		return new Promise((resolve, reject) => {
			const settle = (work: () => void) => process.after(1, work);
			clock.after(1, () => {
				try {
					if (!up || born !== life) throw new Error("socket hang up");
					begin();
				} catch (error) {
					if (!(error instanceof DockerError) && !(error as Error).message.includes("hang up"))
						throw error;
					settle(() => reject(error));
					return;
				}
				orders++;
				clock.after(ms, () => {
					orders--;
					try {
						if (born !== life) throw new Error("socket hang up");
						const answer = done();
						settle(() => resolve(answer));
					} catch (error) {
						if (error instanceof Broken) throw error;
						settle(() => reject(error));
					}
				});
			});
		});
	}

	const nothing = () => {};
	function ask(process: Process, method: string, url: URL, body: unknown): Promise<unknown> {
		const { pathname, searchParams } = url;
		if (pathname === "/containers/json")
			return order(process, 1, nothing, () => list(searchParams.get("filters") ?? "{}"));
		if (pathname.startsWith("/images/"))
			return order(process, 1, nothing, () => {
				if (!images.has(decodeURIComponent(pathname.slice(8, -5))))
					throw new DockerError(404, "No such image");
			});
		if (pathname === "/containers/create") {
			const name = searchParams.get("name") ?? "";
			return order(process, dice.between(5, 80), nothing, () => create(name, body as Body));
		}
		const [, , id = "", verb = ""] = pathname.split("/");
		if (method === "DELETE")
			return order(process, dice.between(1, 50), nothing, () => {
				const container = find(id);
				ended(container, 137);
				containers.delete(id);
				tell("destroy", container);
			});
		if (verb === "json") return order(process, 1, nothing, () => inspected(find(id)));
		if (verb === "start") return order(process, dice.between(10, 200), nothing, () => begin(id));
		if (verb === "stop") return halt(process, id);
		throw new Error(`${method} ${pathname}: nobody asked that before`);
	}

	function create(name: string, { Image, Labels, Healthcheck, NetworkingConfig }: Body) {
		const taken = [...containers.values()].some((each) => each.Name === name);
		if (taken) throw new DockerError(409, `Conflict. The container name "/${name}" is in use`);
		const endpoints = Object.values(NetworkingConfig.EndpointsConfig);
		const container: Container = {
			Id: dice.id(),
			Name: name,
			Created: ++made,
			Labels,
			task: Labels[label.task] as TaskId,
			image: Image,
			addresses: endpoints.map(({ IPAMConfig }) => IPAMConfig.IPv4Address),
			hasHealthcheck: Healthcheck !== undefined,
			state: "created",
			exitCode: 0,
			health: "none",
			runs: 0,
		};
		containers.set(container.Id, container);
		return { Id: container.Id };
	}

	function begin(id: string): void {
		const container = find(id);
		if (container.state === "running") throw new DockerError(304, "already started");
		const other = [...containers.values()].find(
			({ state, addresses }) =>
				state === "running" && addresses.some((each) => container.addresses.includes(each)),
		);
		if (other || (world.faulty() && dice.chance(0.03))) {
			world.happened(other ? "an address is in use on its machine" : "a start fails");
			world.failed(container);
			throw new DockerError(500, other ? "Address already in use" : "OCI runtime create failed");
		}
		container.state = "running";
		container.health = container.hasHealthcheck ? "starting" : "none";
		world.started(container);
		tell("start", container);
		live(container);
	}

	/** What becomes of it by itself. A container that is started again has a second life. */
	function live(container: Container): void {
		const run = ++container.runs;
		const after = (ms: number, event: () => void) =>
			clock.after(ms, () => {
				if (container.state === "running" && container.runs === run) event();
			});
		const end = (exitCode: number) => {
			world.failed(container);
			ended(container, exitCode);
		};
		const behaviour = behaviourOf(container.image);
		if (behaviour === "crashing") after(dice.between(100, 1500), () => end(1));
		if (behaviour === "work") {
			const exitCode = world.faulty() && dice.chance(0.2) ? 1 : 0;
			const ms = dice.chance(0.4) ? dice.between(5000, 12_000) : dice.between(100, 4000);
			after(ms, () => end(exitCode));
		}
		if (!container.hasHealthcheck) return;
		const health = behaviour === "sick" ? "unhealthy" : "healthy";
		after(dice.between(200, 1500), () => {
			if (container.health !== "starting") return;
			if (health === "unhealthy") world.failed(container);
			container.health = health;
			tell(`health_status: ${health}`, container);
		});
	}

	function halt(process: Process, id: string): Promise<void> {
		return order(
			process,
			dice.between(10, 2000),
			() => {
				const container = find(id);
				if (container.state !== "running") throw new DockerError(304, "already stopped");
				world.stopping(container);
			},
			() => {
				const container = containers.get(id);
				if (container) ended(container, 143);
			},
		);
	}

	function list(text: string) {
		const { label: wanted, status } = JSON.parse(text) as { label: string[]; status?: string[] };
		const [key = "", value] = wanted[0]?.split("=") ?? [];
		return [...containers.values()]
			.filter(({ Labels }) => Labels[key] !== undefined)
			.filter(({ Labels }) => value === undefined || Labels[key] === value)
			.filter(({ state }) => !status || status.includes(state))
			.map((each) => ({ ...each, State: each.state, Names: [`/${each.Name}`] }));
	}

	function pull(process: Process, path: string): Promise<ReadableStream<Uint8Array>> {
		const asked = new URL(path, "http://engine").searchParams;
		const image = `${asked.get("fromImage")}@${asked.get("tag")}`;
		return order(process, dice.between(20, 400), nothing, () => {
			if (world.faulty() && dice.chance(0.04)) {
				world.happened("a pull fails");
				throw new DockerError(500, "dial tcp: i/o timeout");
			}
			images.add(image);
			return new ReadableStream({ start: (stream) => stream.close() });
		});
	}

	return {
		containers: () => [...containers.values()],
		isBusy: () => orders > 0,
		docker: (process) =>
			up
				? {
						apiVersion: "1.51",
						request: <Answer>(method: string, path: string, body?: unknown) =>
							ask(process, method, new URL(path, "http://engine"), body) as Promise<Answer>,
						stream: (_method, path) =>
							path.includes("/logs")
								? Promise.reject(new DockerError(501, "no log is kept here"))
								: pull(process, path),
						async *events() {},
					}
				: undefined,
		listen(process, listener) {
			listening = { process, listener };
			process.after(dice.between(1, 20), () => {
				if (up) listener.back();
				else listener.gone("no such socket");
			});
		},
		exit: ended,
		sicken(container) {
			container.health = "unhealthy";
			tell("health_status: unhealthy", container);
		},
		powerOff() {
			life++;
			listening = undefined;
			up = true;
			for (const container of containers.values()) ended(container, 137);
		},
		restart(downMs, endsContainers) {
			if (!up) return;
			up = false;
			const born = ++life;
			if (endsContainers) for (const container of containers.values()) ended(container, 137);
			const told = (event: (listener: EngineListener) => void) => {
				if (!listening) return;
				const { process, listener } = listening;
				process.after(dice.between(1, 500), () => event(listener));
			};
			told((listener) => listener.gone("connection refused"));
			clock.after(downMs, () => {
				if (born !== life) return;
				up = true;
				told((listener) => listener.back());
			});
		},
		remove: (id) => containers.delete(id),
	};
}

function inspected({ Id, state, exitCode, health }: Container) {
	return {
		Id,
		State: {
			Status: state,
			ExitCode: exitCode,
			Pid: state === "running" ? 4711 : 0,
			Error: "",
			OOMKilled: false,
			Health: { Status: health },
		},
		NetworkSettings: { Ports: {} },
	};
}
