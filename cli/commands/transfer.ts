// `docker skein export` and `import`: a cluster as one file.

import { messageOf } from "../../model/errors.ts";
import { Complaint } from "../complaint.ts";
import { exportOf, importOf, originOf } from "../endpoint.ts";
import { oneLogin, readLogins } from "../logins.ts";
import type { Terminal } from "../terminal.ts";
import type { Command, Given } from "./command.ts";
import { oneCluster, reach } from "./context.ts";

const passphraseHelp = `  --passphrase-stdin   take the passphrase from standard input; it is asked for otherwise`;

export const exportCluster: Command = {
	usage: "export CLUSTER [--url URL] > FILE",
	summary: "Write a cluster to standard output, as one file",
	help: `The file has all that the control plane knows of the cluster; its secrets open with a passphrase of 12 characters or more,
which nobody can look up for you.

Options:
${passphraseHelp}
  --url URL            of this control plane`,
	options: { url: { type: "string" }, "passphrase-stdin": { type: "boolean" } },
	words: [1, 1],
	async run(terminal, [name = ""], options) {
		const { url } = options;
		if (terminal.isShowing) {
			throw new Complaint(
				`this is a file for programs: docker skein export ${name} > ${name.replace("/", "-")}.skein`,
			);
		}
		const logins = await readLogins(terminal.places);
		const { found } = await reach(terminal, logins, url);
		const cluster = oneCluster(found, name);
		const passphrase = await passphraseOf(terminal, options);
		const isTypedAgain = options["passphrase-stdin"] || passphrase === (await again(terminal));
		if (!isTypedAgain) throw new Complaint("that is another passphrase than before");
		const file = await exportOf(cluster.login, cluster.name, passphrase);
		try {
			await terminal.write(file);
		} catch (cause) {
			const why = `the file broke off (${messageOf(cause)})`;
			throw new Complaint(`${why}: what was written of it cannot be imported. Try again`, {
				cause,
			});
		}
	},
};

export const importCluster: Command = {
	usage: "import FILE [--name NAME] [--organization NAME] [--url URL]",
	summary: "Make a cluster of a file that export wrote",
	help: `Where no cluster is the file's already, it is the same cluster, and its machines find it again. Otherwise it is a copy,
without machines.

Options:
  --name NAME          call the cluster so; the name that it had unless told
  --organization NAME  for this organization of yours, by its name or id
${passphraseHelp}
  --url URL            at this control plane`,
	options: {
		name: { type: "string" },
		organization: { type: "string" },
		url: { type: "string" },
		"passphrase-stdin": { type: "boolean" },
	},
	words: [1, 1],
	async run(terminal, [path = ""], options) {
		const { url, name: asked, organization } = options;
		const logins = await readLogins(terminal.places);
		const login = oneLogin(
			logins,
			typeof url === "string" ? originOf(url) : undefined,
			typeof organization === "string" ? organization : undefined,
		);
		const file = Bun.file(path);
		if (!(await file.exists())) throw new Complaint(`there is no file ${path}`);
		const passphrase = await passphraseOf(terminal, options);
		const wanted = typeof asked === "string" ? asked : undefined;
		const { name, same } = await importOf(login, file, passphrase, wanted);
		const what = same ? "the same cluster" : "a copy, without machines";
		terminal.say(
			`${name} is there: ${what}. docker skein context ${name} makes a docker context of it`,
		);
	},
};

async function passphraseOf(terminal: Terminal, options: Given): Promise<string> {
	if (options["passphrase-stdin"]) return (await terminal.read()).replace(/\r?\n$/, "");
	if (terminal.isAsking) return terminal.askSecret("Passphrase of the file: ");
	throw new Complaint("there is nobody to ask for the passphrase: give it with --passphrase-stdin");
}

const again = (terminal: Terminal) => terminal.askSecret("The same again: ");
