// `docker skein …`: which command is meant, its help, and what all of them have in common.

import { parseArgs } from "node:util";
import { messageOf } from "../model/errors.ts";
import {
	appCancel,
	appCreate,
	appDeliveries,
	appDeploy,
	appDeployments,
	appInspect,
	appList,
	appLogs,
	appPromote,
	appRemove,
	appRollback,
	appSecret,
} from "./commands/app.ts";
import type { Command, Given } from "./commands/command.ts";
import { clusters, context } from "./commands/context.ts";
import { login, logout } from "./commands/login.ts";
import { password } from "./commands/password.ts";
import { socket, status, stop } from "./commands/socket.ts";
import { exportCluster, importCluster } from "./commands/transfer.ts";
import { usage } from "./commands/usage.ts";
import { Complaint } from "./complaint.ts";
import { readLogins } from "./logins.ts";
import { ensureRunning } from "./running.ts";
import { type Terminal, table } from "./terminal.ts";

const commands: Readonly<Record<string, Command>> = {
	login,
	password,
	context,
	clusters,
	usage,
	status,
	export: exportCluster,
	import: importCluster,
	"app create": appCreate,
	"app ls": appList,
	"app inspect": appInspect,
	"app ps": appDeployments,
	"app logs": appLogs,
	"app deploy": appDeploy,
	"app rollback": appRollback,
	"app promote": appPromote,
	"app cancel": appCancel,
	"app deliveries": appDeliveries,
	"app secret": appSecret,
	"app rm": appRemove,
	socket,
	stop,
	logout,
};

/** These say themselves what becomes of the local socket. */
const leavesSocket = new Set(["login", "context", "socket", "stop", "logout"]);

export async function run(terminal: Terminal, args: readonly string[]): Promise<void> {
	const [first = "--help", ...others] = args;
	const [name, rest] = Object.hasOwn(commands, `${first} ${others[0]}`)
		? [`${first} ${others[0]}`, others.slice(1)]
		: [first, others];
	if (/^(--help|-h|help)$/.test(name)) {
		const about = commands[rest.join(" ")];
		for (const line of about ? helpOf(about) : overview()) terminal.say(line);
		return;
	}
	const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
	if (!command) {
		throw new Complaint(`docker skein has no command ${name}: docker skein --help lists them`);
	}
	const given = parsed(command, rest);
	if (given.options["help"]) {
		for (const line of helpOf(command)) terminal.say(line);
		return;
	}
	if (!leavesSocket.has(name)) await wake(terminal);
	await command.run(terminal, given.words, given.options);
}

function parsed(command: Command, args: readonly string[]) {
	const options = { ...command.options, help: { type: "boolean", short: "h" } } as const;
	try {
		const { values, positionals } = parseArgs({
			args: [...args],
			options,
			allowPositionals: true,
			strict: true,
		});
		const given = values as Given;
		const [least, most] = command.words;
		if (!given["help"] && (positionals.length < least || positionals.length > most)) {
			throw new Complaint(positionals.length < least ? "something is missing" : "that is too much");
		}
		return { words: positionals, options: given };
	} catch (cause) {
		throw new Complaint(`${messageOf(cause)}\nUsage: docker skein ${command.usage}`, { cause });
	}
}

/** After a reboot, say, any command brings the contexts' sockets back. */
async function wake({ places, program }: Terminal): Promise<void> {
	const logins = await readLogins(places);
	const isUsed = logins.some(({ contexts }) => Object.keys(contexts).length > 0);
	if (isUsed) await ensureRunning(places, program);
}

function overview(): string[] {
	const rows = Object.entries(commands).map(([name, { summary }]) => [`  ${name}`, summary]);
	return [
		"Usage: docker skein COMMAND",
		"",
		"Clusters of Skein, in docker contexts",
		"",
		"Commands:",
		...table(rows),
		"",
		"docker skein COMMAND --help tells more.",
	];
}

function helpOf({ usage, summary, help }: Command): string[] {
	return [`Usage: docker skein ${usage}`, "", summary, "", help];
}
