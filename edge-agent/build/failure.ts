// Why a build failed, in a sentence for the person whose build it is.

/** The build is at fault, or what it needs: to be told as it stands. */
export class BuildFailure extends Error {}

const noSpace = /no space left on device/i;

/**
 * Of what `docker build` said: the step that failed and what became of it. BuildKit numbers what it does, several at a
 * time (`#7 [2/3] RUN make`, `#7 ERROR: …`); the classic builder says one step after the other.
 */
export function failureOf(said: readonly string[], code: number): string {
	const failed = said.findLast((line) => /^#\d+ ERROR: /.test(line));
	const [number = "", error = ""] = failed?.split(/ ERROR: (.*)/, 2) ?? [];
	const step = failed
		? said.find((line) => line.startsWith(`${number} [`))?.slice(number.length + 1)
		: said.findLast((line) => /^Step \d+\/\d+ : /.test(line));
	const reason = said.some((line) => noSpace.test(line))
		? "the disk of Docker is full: docker builder prune, or docker system prune, makes room"
		: plainly(failed ? error : (said.at(-1) ?? `exit ${code}`));
	return step ? `${titled(step)}: ${reason}` : reason;
}

const titled = (step: string) =>
	step
		.replace(/^\[internal\] /, "")
		.replace(/^Step (\d+\/\d+) : /, "[$1] ")
		.slice(0, 300);

/** Without what the builder's parts say about one another, and the command, which the step names. */
function plainly(error: string): string {
	const exit = /(?:exit code: |non-zero code: )(\d+)$/.exec(error)?.[1];
	if (exit !== undefined) return exit === "137" ? killed : `exit code ${exit}`;
	const wrapped =
		/^(?:ERROR: )?(?:failed to build: )?(?:failed to solve(?: with frontend [\w.]+)?: )?(?:failed to create LLB definition: )?/;
	return error.replace(wrapped, "").slice(0, 1000);
}

const killed = "exit code 137: killed, as by a build that needs more memory than it may have";
