// `docker skein password`: another password where the old one is forgotten, by a code that was mailed or handed over.

import { Complaint } from "../complaint.ts";
import { originOf, requestCode, resetPassword } from "../endpoint.ts";
import type { Terminal } from "../terminal.ts";
import type { Command } from "./command.ts";

export const password: Command = {
	usage: "password URL [--email EMAIL | --code CODE]",
	summary: "Choose a new password where the old one is forgotten",
	help: `A code is mailed to you, and lets you choose another password. That ends all your sessions; API tokens stay, this machine's too.
Where the control plane sends no mail, whoever runs it gives you a code.

Options:
  --email EMAIL      have a code mailed there, if that is the address of your account
  --code CODE        you have one
  --password-stdin   take the new password from standard input; it is asked for otherwise`,
	options: {
		email: { type: "string" },
		code: { type: "string" },
		"password-stdin": { type: "boolean" },
	},
	words: [1, 1],
	async run(terminal, [address = ""], { email, code: given, "password-stdin": fromStdin }) {
		const url = originOf(address);
		if ((email === undefined) === (given === undefined)) {
			throw new Complaint("--email has a code mailed, --code takes one: give one of them");
		}
		if (typeof email === "string") {
			terminal.say(await requestCode(url, email));
			if (!terminal.isAsking) {
				terminal.say(`then: docker skein password ${url} --code CODE --password-stdin`);
				return;
			}
		}
		const code = typeof given === "string" ? given : await terminal.ask("Code: ");
		const chosen = fromStdin
			? (await terminal.read()).replace(/\r?\n$/, "")
			: await choose(terminal);
		await resetPassword(url, code.trim(), chosen);
		terminal.say(
			`your password is another now, and every session has ended: docker skein login ${url}`,
		);
	},
};

async function choose(terminal: Terminal): Promise<string> {
	if (!terminal.isAsking) {
		throw new Complaint("there is nobody to ask for the password: give it with --password-stdin");
	}
	const chosen = await terminal.askSecret("New password: ");
	if (chosen !== (await terminal.askSecret("The same again: "))) {
		throw new Complaint("that is another password than before");
	}
	return chosen;
}
