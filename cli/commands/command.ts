// What a command of `docker skein` is: its words, its options, and what it does.

import type { ParseArgsOptionsConfig } from "node:util";
import type { Terminal } from "../terminal.ts";

export type Given = Readonly<Record<string, string | boolean | readonly string[] | undefined>>;

export interface Command {
	/** Behind `docker skein`: `login URL [--token TOKEN]`. */
	readonly usage: string;
	readonly summary: string;
	/** Each option with what it does, and whatever else there is to know. */
	readonly help: string;
	readonly options: ParseArgsOptionsConfig;
	/** How many words it takes besides its options. */
	readonly words: readonly [least: number, most: number];
	run(terminal: Terminal, words: readonly string[], options: Given): Promise<void>;
}
