// A program that is given orders on its input and answers each on its output, one JSON line each way.

import { childrenOf } from "../lab/run.ts";

export class Dialogue<Order extends object> {
	readonly #process: Bun.Subprocess<"pipe", "pipe", "inherit">;
	readonly #chunks: AsyncIterator<Uint8Array>;
	#rest = "";

	constructor(command: readonly string[]) {
		this.#process = Bun.spawn([...command], { stdin: "pipe", stdout: "pipe", stderr: "inherit" });
		this.#process.unref();
		this.#chunks = this.#process.stdout[Symbol.asyncIterator]();
	}

	/** Its nsenter forked: the program is the child. */
	kill(): void {
		for (const pid of childrenOf(this.#process.pid)) process.kill(pid, "SIGKILL");
	}

	/** Throws the error that it answers with. */
	async ask<Answer>(order: Order): Promise<Answer> {
		this.#process.stdin.write(`${JSON.stringify(order)}\n`);
		this.#process.stdin.flush();
		while (!this.#rest.includes("\n")) {
			const { value, done } = await this.#chunks.next();
			if (done) throw new Error("the node's agent ended");
			this.#rest += new TextDecoder().decode(value);
		}
		const end = this.#rest.indexOf("\n");
		const answer = JSON.parse(this.#rest.slice(0, end)) as Answer & { readonly error?: string };
		this.#rest = this.#rest.slice(end + 1);
		if (answer.error !== undefined) throw new Error(answer.error);
		return answer;
	}
}
