// Keeps our two tables in the kernel: changes as element transactions, anything else as one whole load.
//
// What the tables should hold is `ruleset.ts`'s. Every change is one transaction, so a packet meets the old tables or
// the new ones, never half of either. No table but ours is read or written.

import type { Exec } from "../host/exec.ts";
import { difference, type Family, render, type Tables, tableName } from "./ruleset.ts";

const families: readonly Family[] = ["ip", "bridge"];

/** Ten thousand services load in a quarter of a second; a machine under load may take a hundred times as long. */
const timeoutMs = 60_000;

/** One holder a machine: it remembers what it loaded, and so can tell a stranger's change from its own. */
export class Nft {
	readonly #exec: Exec;
	#loaded: Tables | undefined;
	/** What the kernel listed after the last load; empty until somebody looks. */
	#listing = "";

	constructor(exec: Exec) {
		this.#exec = exec;
	}

	/** Makes the kernel's tables these. Costs nothing when they were the last ones loaded, and what differs otherwise. */
	async ensure(tables: Tables): Promise<"same" | "changed"> {
		const change = this.#loaded && difference(this.#loaded, tables);
		if (change === "") return "same";
		if (change === undefined || !(await this.#tried(change))) await this.#run(render(tables));
		this.#loaded = tables;
		this.#listing = "";
		return "changed";
	}

	/**
	 * Compares what the kernel lists with what it listed after our last load, and loads whole what somebody flushed or
	 * edited. The first call after a load only looks. For every half minute or so.
	 */
	async check(): Promise<"same" | "repaired"> {
		const loaded = this.#loaded;
		if (!loaded) return "same";
		const listing = await this.#list();
		const isOurs = this.#listing === "" ? listing !== "" : listing === this.#listing;
		if (!isOurs) await this.#run(render(loaded));
		this.#listing = isOurs ? listing : await this.#list();
		return isOurs ? "same" : "repaired";
	}

	/** Leaves nothing of ours. For the day the agent is uninstalled. */
	async remove(): Promise<void> {
		await this.#run(
			families
				.map((family) => `table ${family} ${tableName}\ndelete table ${family} ${tableName}\n`)
				.join(""),
		);
		this.#loaded = undefined;
	}

	/** A difference presumes that the kernel has what we loaded; where it does not, nothing of it lands. */
	async #tried(text: string): Promise<boolean> {
		try {
			await this.#run(text);
			return true;
		} catch {
			return false;
		}
	}

	async #run(text: string): Promise<void> {
		await this.#exec("nft", ["-f", "-"], { input: text, timeoutMs });
	}

	/** Empty when a table is missing. The kernel lists elements in no certain order, so the words are sorted. */
	async #list(): Promise<string> {
		try {
			const texts = await Promise.all(
				families.map((family) =>
					this.#exec("nft", ["-s", "list", "table", family, tableName], { timeoutMs }),
				),
			);
			return texts
				.join("\n")
				.split(/[\s,]+/)
				.sort()
				.join(" ");
		} catch {
			return "";
		}
	}
}
