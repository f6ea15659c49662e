// `docker skein status`, `stop` and `socket`: the local socket's process, and what it leads to.

import { mkdir, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { messageOf } from "../../model/errors.ts";
import { Complaint } from "../complaint.ts";
import { clustersOf } from "../endpoint.ts";
import { type Login, placeOf, readLogins } from "../logins.ts";
import { endRunning, ensureRunning, startedBefore, startMs, stateOf } from "../running.ts";
import { serveSocket } from "../socket.ts";
import { type Terminal, table } from "../terminal.ts";
import type { Command } from "./command.ts";

export const status: Command = {
	usage: "status",
	summary: "Show where you are signed in, and whether all is well there",
	help: "Asks every control plane where you are signed in.",
	options: {},
	words: [0, 0],
	async run(terminal) {
		const { places } = terminal;
		const logins = await readLogins(places);
		const state = await stateOf(places);
		const how = state ? `runs (pid ${state.pid}, version ${state.version})` : "does not run";
		terminal.say(`local socket: ${how}`);
		if (logins.length === 0) terminal.say("signed in: nowhere. docker skein login URL");
		for (const login of logins) {
			terminal.say(`${placeOf(login)}: ${await wellness(login)}`);
		}
		const rows = logins.flatMap(({ contexts }) =>
			Object.entries(contexts).map(([name, { cluster, endpoint }]) => [name, cluster, endpoint]),
		);
		if (rows.length === 0) return;
		for (const line of table([["CONTEXT", "CLUSTER", "ENDPOINT"], ...rows])) terminal.say(line);
	},
};

async function wellness(login: Login): Promise<string> {
	try {
		const found = await clustersOf(login);
		const gone = Object.values(login.contexts)
			.map(({ cluster }) => cluster)
			.filter((cluster) => !found.some(({ name }) => name === cluster));
		const lost = gone.length === 0 ? "" : `; not in your reach any more: ${gone.join(", ")}`;
		return `signed in as ${login.who}, ${found.length} cluster${found.length === 1 ? "" : "s"}${lost}`;
	} catch (error) {
		return messageOf(error);
	}
}

export const stop: Command = {
	usage: "stop",
	summary: "End the local socket; any other command starts it again",
	help: "What runs through it is cut off. You stay signed in.",
	options: {},
	words: [0, 0],
	async run(terminal) {
		const ended = await endRunning(terminal.places);
		terminal.say(ended ? "the local socket has ended" : "the local socket did not run");
	},
};

export const socket: Command = {
	usage: "socket [--install | --uninstall | --run]",
	summary: "Start the local socket, or have systemd do so",
	help: `Every command starts it when it does not run, so after a reboot the first \`docker skein status\` does.

Options:
  --install     have systemd start it when you log in
  --uninstall   no more
  --run         serve here, until Ctrl-C`,
	options: {
		install: { type: "boolean" },
		uninstall: { type: "boolean" },
		run: { type: "boolean" },
	},
	words: [0, 0],
	async run(terminal, _words, options) {
		const { places, version } = terminal;
		if (Object.values(options).filter(Boolean).length > 1) {
			throw new Complaint("--install, --uninstall and --run: give one of them");
		}
		if (options["run"]) return serveSocket(places, version, (line) => terminal.say(line));
		if (options["install"]) return install(terminal);
		if (options["uninstall"]) return uninstall(terminal);
		const { pid } = await ensureRunning(places, terminal.program);
		terminal.say(`the local socket runs, pid ${pid}; its log is ${places.log}`);
	},
};

const unit = "skein-socket.service";
const unitFile = () =>
	join(process.env["XDG_CONFIG_HOME"] || join(homedir(), ".config"), "systemd/user", unit);

async function install(terminal: Terminal): Promise<void> {
	const { places, program } = terminal;
	const path = unitFile();
	await mkdir(join(path, ".."), { recursive: true });
	const command = [...program, "skein", "socket", "--run"].map(quoted).join(" ");
	await writeFile(
		path,
		`[Unit]
Description=Skein's local socket for docker

[Service]
Environment=${quoted(`DOCKER_CONFIG=${places.config}`)}
ExecStart=${command}
Restart=on-failure

[Install]
WantedBy=default.target
`,
	);
	await systemctl("daemon-reload");
	// One that was started by hand makes room.
	await endRunning(places);
	await systemctl("enable", "--now", unit);
	const until = performance.now() + startMs;
	if (!(await startedBefore(places, () => until))) {
		throw new Complaint(
			`the local socket does not start: \`journalctl --user -u ${unit}\` says why`,
		);
	}
	terminal.say(`systemd starts the local socket when you log in (${path})`);
}

async function uninstall(terminal: Terminal): Promise<void> {
	if (!(await Bun.file(unitFile()).exists())) {
		throw new Complaint(`systemd does not start it: there is no ${unitFile()}`);
	}
	await systemctl("disable", "--now", unit);
	await rm(unitFile());
	await systemctl("daemon-reload");
	terminal.say("systemd does not start the local socket any more");
}

/** A word for a unit's file, whatever is in it. */
const quoted = (word: string) =>
	`"${word.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("%", "%%").replaceAll("$", "$$$$")}"`;

async function systemctl(...args: readonly string[]): Promise<void> {
	const program = Bun.which("systemctl");
	if (!program) throw new Complaint("there is no systemd here: start it with docker skein socket");
	const child = Bun.spawn([program, "--user", ...args], { stdout: "ignore", stderr: "pipe" });
	const said = await new Response(child.stderr).text();
	if ((await child.exited) === 0) return;
	throw new Complaint(`systemctl --user ${args.join(" ")}: ${said.trim()}`);
}
