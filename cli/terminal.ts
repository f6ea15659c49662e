// What a command is given by its terminal, and what it may do there. Made by main.ts; tests bring another.

import type { Docker } from "./contexts.ts";
import type { Places } from "./logins.ts";

export interface Terminal {
	readonly docker: Docker;
	readonly places: Places;
	/** How this very program is started. */
	readonly program: readonly string[];
	readonly version: string;
	/** Where docker itself would go: `unix:///run/skein.sock`. */
	host(): Promise<string>;
	/** Whether a person is there to be asked; whether what is written is read by a person. */
	readonly isAsking: boolean;
	readonly isShowing: boolean;
	say(line: string): void;
	/** Beside the output. */
	warn(line: string): void;
	ask(prompt: string): Promise<string>;
	/** Without showing what is typed. */
	askSecret(prompt: string): Promise<string>;
	/** All that comes on standard input. */
	read(): Promise<string>;
	write(bytes: ReadableStream<Uint8Array>): Promise<void>;
}

/** Columns as wide as their widest word. */
export function table(rows: readonly (readonly string[])[]): string[] {
	const widths = (rows[0] ?? []).map((_, column) =>
		Math.max(...rows.map((row) => (row[column] ?? "").length)),
	);
	return rows.map((row) =>
		row
			.map((cell, column) => cell.padEnd((widths[column] ?? 0) + 3))
			.join("")
			.trimEnd(),
	);
}
