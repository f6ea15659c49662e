// `npm run bench [-- NAME…]`: measures, and prints a table. Every other file here with a `name` and a `run` is a bench.

import type { Row } from "./row.ts";

interface Bench {
	readonly name: string;
	run(): Promise<readonly Row[]>;
}

const files = [...new Bun.Glob("*.ts").scanSync(import.meta.dir)].sort();
const modules: Partial<Bench>[] = await Promise.all(
	files.filter((file) => file !== "main.ts").map((file) => import(`./${file}`)),
);
const benches = modules.filter((one): one is Bench => "run" in one && "name" in one);
const asked = Bun.argv.slice(2);
const strangers = asked.filter((name) => !benches.some((bench) => bench.name === name));
if (strangers.length > 0) {
	console.error(
		`no bench ${strangers.join(", ")}: there are ${benches.map(({ name }) => name).join(", ")}`,
	);
	process.exit(2);
}

for (const bench of benches.filter(({ name }) => asked.length === 0 || asked.includes(name))) {
	const rows = await bench.run();
	const width = Math.max(...rows.map(({ what }) => what.length));
	console.log(`\n${bench.name}`);
	for (const { what, value, unit, note } of rows) {
		console.log(
			`  ${what.padEnd(width)}  ${show(value).padStart(10)} ${unit.padEnd(8)} ${note ?? ""}`.trimEnd(),
		);
	}
}

/** Three digits say all that a measurement knows. */
function show(value: number): string {
	const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value) || 1)));
	return value.toLocaleString("en-US", { maximumFractionDigits: digits }).replaceAll(",", " ");
}
