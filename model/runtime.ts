// Which runtime an agent's program is served with. The program's last line says it, so that the program's sum, which is
// promised to each node, vouches for both; a program is nothing else than before to whoever does not look for that line.

/** `name`: of the file, `bun-linux-x64`. `sha256`: in hex. */
export const runtimeLine = (name: string, sha256: string): string =>
	`// runtime ${name} ${sha256}\n`;

/** The sum of the runtime of that name; undefined where the program names none. The last word counts. */
export function runtimeOf(program: string, name: string): string | undefined {
	const lines = program.matchAll(/^\/\/ runtime (\S+) ([0-9a-f]{64})$/gm);
	return [...lines].filter(([, each]) => each === name).at(-1)?.[2];
}
