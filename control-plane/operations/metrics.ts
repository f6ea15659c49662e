// What this process counted since it began, in Prometheus' text form. Knows nothing of what is counted but its names.
//
// At the edge each isolate and each object counts for itself, and forgets when it goes: see docs/operations.md.

interface Family {
	readonly name: string;
	readonly type: "counter" | "gauge" | "histogram";
	readonly help: string;
}

/** Times in seconds. Labels' values must come from a short list: a pattern, never a path. */
export const families = {
	requests: {
		name: "skein_http_requests_total",
		type: "counter",
		help: "Requests answered, by route pattern and status.",
	},
	requestTime: {
		name: "skein_http_request_duration_seconds",
		type: "histogram",
		help: "Time from a request to the head of its answer; held polls are held on purpose.",
	},
	heldPolls: {
		name: "skein_held_polls",
		type: "gauge",
		help: "Agents that wait here for news.",
	},
	waitingRelays: {
		name: "skein_relays_waiting",
		type: "gauge",
		help: "Requests to a node's engine that the node has not answered yet.",
	},
	commits: { name: "skein_commits_total", type: "counter", help: "Revisions written." },
	conflicts: {
		name: "skein_commit_conflicts_total",
		type: "counter",
		help: "Revisions that somebody else had written meanwhile: decided again.",
	},
	planTime: { name: "skein_plan_seconds", type: "histogram", help: "Time in the planner." },
	planFailures: {
		name: "skein_plan_failures_total",
		type: "counter",
		help: "Plans that failed and are tried again.",
	},
	batches: {
		name: "skein_database_batches_total",
		type: "counter",
		help: "Batches sent to the database: one transaction and one round trip each.",
	},
	statements: {
		name: "skein_database_statements_total",
		type: "counter",
		help: "Statements in those batches.",
	},
	rows: {
		name: "skein_database_rows_total",
		type: "counter",
		help: "Rows that reads returned and writes changed; what the server scanned is its own to count.",
	},
	databaseTime: {
		name: "skein_database_seconds",
		type: "histogram",
		help: "Time of a batch, tries included.",
	},
	clusters: { name: "skein_clusters", type: "gauge", help: "Clusters open in this process." },
	nodes: { name: "skein_nodes", type: "gauge", help: "Nodes of those clusters." },
	tasks: { name: "skein_tasks", type: "gauge", help: "Tasks of those clusters." },
	keyrings: {
		name: "skein_keyrings",
		type: "gauge",
		help: "Clusters' keyrings by the master key that they are wrapped under; none: clusters without one yet.",
	},
	lag: {
		name: "skein_event_loop_lag_seconds",
		type: "gauge",
		help: "How late a timer was, at the worst since the last scrape.",
	},
	memory: {
		name: "process_resident_memory_bytes",
		type: "gauge",
		help: "Resident memory of this process.",
	},
	started: {
		name: "process_start_time_seconds",
		type: "gauge",
		help: "When this process began to count, in seconds since 1970.",
	},
} satisfies Readonly<Record<string, Family>>;

export type FamilyName = keyof typeof families;
export type Labels = Readonly<Record<string, string>>;

/** Seconds; from a read of a local file to a poll that is held. */
const buckets = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10] as const;

interface Series {
	value: number;
	/** Of histograms: observations up to each bucket's bound. */
	readonly counts: number[];
	observed: number;
}

export class Metrics {
	readonly #series = new Map<FamilyName, Map<string, Series>>();

	/** Counters go up; gauges both ways. */
	add(family: FamilyName, labels: Labels = {}, by = 1): void {
		this.#of(family, labels).value += by;
	}

	set(family: FamilyName, labels: Labels, value: number): void {
		this.#of(family, labels).value = value;
	}

	observe(family: FamilyName, labels: Labels, seconds: number): void {
		const series = this.#of(family, labels);
		series.value += seconds;
		series.observed++;
		for (const [at, bound] of buckets.entries()) {
			if (seconds <= bound) series.counts[at] = (series.counts[at] ?? 0) + 1;
		}
	}

	/** Forgets a gauge's series: those that are set next are all there are. */
	clear(family: FamilyName): void {
		this.#series.delete(family);
	}

	value(family: FamilyName, labels: Labels = {}): number {
		return this.#series.get(family)?.get(textOf(labels))?.value ?? 0;
	}

	text(): string {
		const lines: string[] = [];
		for (const [key, all] of this.#series) {
			const { name, type, help } = families[key];
			lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
			for (const [labels, series] of all) {
				if (type === "histogram") lines.push(...histogram(name, labels, series));
				else lines.push(`${name}${braced(labels)} ${series.value}`);
			}
		}
		return `${lines.join("\n")}\n`;
	}

	#of(family: FamilyName, labels: Labels): Series {
		const all = this.#series.get(family) ?? new Map<string, Series>();
		this.#series.set(family, all);
		const text = textOf(labels);
		const known = all.get(text);
		if (known) return known;
		const fresh: Series = { value: 0, counts: buckets.map(() => 0), observed: 0 };
		all.set(text, fresh);
		return fresh;
	}
}

function histogram(name: string, labels: string, { value, counts, observed }: Series): string[] {
	const upTo = (bound: string) => braced([labels, `le="${bound}"`].filter(Boolean).join(","));
	return [
		...buckets.map((bound, at) => `${name}_bucket${upTo(`${bound}`)} ${counts[at]}`),
		`${name}_bucket${upTo("+Inf")} ${observed}`,
		`${name}_sum${braced(labels)} ${value}`,
		`${name}_count${braced(labels)} ${observed}`,
	];
}

const braced = (labels: string) => (labels === "" ? "" : `{${labels}}`);

function textOf(labels: Labels): string {
	return Object.entries(labels)
		.map(([name, value]) => `${name}="${escaped(value)}"`)
		.join(",");
}

const escaped = (value: string) =>
	value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
