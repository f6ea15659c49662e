// The only way out to the machine's programs, and the one file that imports zx.

import { $, type ProcessOutput } from "zx";

/** Runs a program with arguments, never through a sentence, and gives what it printed. */
export type Exec = (
	command: string,
	args: readonly string[],
	options?: { readonly input?: string; readonly timeoutMs?: number },
) => Promise<string>;

/** A program that could not be run, or ended badly. */
export class ExecError extends Error {
	readonly exitCode: number | null;
	readonly stderr: string;

	constructor(command: string, args: readonly string[], output: ProcessOutput) {
		super(`${command} ${args.join(" ")}: ${output.stderr.trim() || `exit ${output.exitCode}`}`);
		this.name = "ExecError";
		this.exitCode = output.exitCode;
		this.stderr = output.stderr;
	}
}

/** The shell that zx needs becomes the program: half the processes, and not bash, which takes longer to start. */
const shell = {
	shell: "/bin/sh",
	prefix: "exec ",
	quote: (text: string) => `'${text.replaceAll("'", String.raw`'\''`)}'`,
};

export const exec: Exec = async (command, args, options = {}) => {
	const run = $({
		...shell,
		quiet: true,
		nothrow: true,
		...(options.input ? { input: options.input } : { stdio: ["ignore", "pipe", "pipe"] }),
		timeout: options.timeoutMs ?? 30_000,
	});
	const output = await run`${command} ${args}`;
	if (output.exitCode !== 0) throw new ExecError(command, args, output);
	return output.stdout;
};
