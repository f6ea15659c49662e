// Follows a packet through a ruleset's text, as the kernel would: what becomes of it is what the rules mean.
//
// Knows the expressions that our rules use and no others: a new one in a rule fails here until it has a meaning.

export interface Packet {
	readonly protocol: "tcp" | "udp" | "sctp" | "icmp";
	readonly source: string;
	readonly dest: string;
	readonly port: number;
	/** Null when the node itself sends it. */
	readonly from: string | null;
	readonly mac?: string;
}

export interface Machine {
	/** The node's own addresses. */
	readonly own: readonly string[];
	/** By which interface an address is reached. */
	readonly routes: (address: string) => string;
	/** From 0 up to 1. */
	readonly random: () => number;
}

export interface Traced {
	/** `10.0.1.5:80` where it goes to; `host:80` for the node's own programs; `refused`; `dropped`. */
	readonly to: string;
	/** The address it comes from then; `bridge` for the address of the bridge that it leaves by. */
	readonly from: string;
	readonly mark: number;
	readonly zone: number;
}

interface Ruleset {
	/** Elements by `name`, then by key; the value is empty in a set. */
	readonly sets: ReadonlyMap<string, ReadonlyMap<string, string>>;
	readonly chains: ReadonlyMap<string, readonly string[]>;
}

export function parseRuleset(text: string): Ruleset {
	const sets = new Map<string, Map<string, string>>();
	const chains = new Map<string, string[]>();
	let chain: string[] | undefined;
	for (const line of text.split("\n").map((line) => line.trim())) {
		const set = /^(?:set|map) (\w+) \{ .*?; (?:elements = \{ (.*) \}; )?\}$/.exec(line);
		const opened = /^chain (\w+) \{(?: (.*); \})?$/.exec(line);
		if (set) sets.set(set[1] ?? "", new Map(elements(set[2] ?? "")));
		else if (opened) {
			chain = opened[2] === undefined ? [] : [opened[2]];
			chains.set(opened[1] ?? "", chain);
			if (opened[2] !== undefined) chain = undefined;
		} else if (line === "}") chain = undefined;
		else if (chain) chain.push(line);
	}
	return { sets, chains };
}

export function elements(text: string): [string, string][] {
	if (text === "") return [];
	return text.split(", ").map((element) => {
		const [key = "", value = ""] = element.split(" : ");
		return [key, value];
	});
}

type Verdict = "accept" | "dropped" | "refused";

/** The hooks in the order in which a packet meets their chains. */
const hooks = {
	arriving: ["guard", "origin", "arriving"],
	leaving: ["untracked", "leaving"],
	input: ["refuse"],
	postrouting: ["source", "unmark"],
};

export function trace(text: string, packet: Packet, machine: Machine): Traced {
	const rules = parseRuleset(text);
	const flow = new Flow(rules, packet, machine);
	const first = flow.run(packet.from === null ? hooks.leaving : hooks.arriving);
	if (first !== "accept") return flow.traced(first);
	if (machine.own.includes(flow.dest) || flow.dest.startsWith("127.")) {
		const verdict = flow.run(hooks.input);
		return flow.traced(verdict === "accept" ? `host:${flow.port}` : verdict);
	}
	flow.out = machine.routes(flow.dest);
	const last = flow.run(hooks.postrouting);
	return flow.traced(last === "accept" ? `${flow.dest}:${flow.port}` : last);
}

class Flow {
	readonly #rules: Ruleset;
	readonly #packet: Packet;
	readonly #machine: Machine;
	dest: string;
	port: number;
	out = "";
	#from: string;
	#mark = 0;
	#packetMark = 0;
	#zone = 0;

	constructor(rules: Ruleset, packet: Packet, machine: Machine) {
		this.#rules = rules;
		this.#packet = packet;
		this.#machine = machine;
		this.dest = packet.dest;
		this.port = packet.port;
		this.#from = packet.source;
	}

	traced(to: string): Traced {
		return { to, from: this.#from, mark: this.#mark, zone: this.#zone };
	}

	run(chains: readonly string[]): Verdict {
		for (const chain of chains) {
			const verdict = this.#runChain(chain);
			if (verdict === "dropped" || verdict === "refused") return verdict;
		}
		return "accept";
	}

	/** Undefined: the chain ended, or returned, without a verdict. */
	#runChain(name: string): Verdict | undefined {
		const rules = this.#rules.chains.get(name);
		if (!rules) throw new Error(`no chain ${name}`);
		for (const rule of rules) {
			if (rule.startsWith("type ")) continue;
			const end = this.#runRule(rule);
			if (end === "return") return undefined;
			if (end) return end;
		}
		return undefined;
	}

	/** Undefined: on to the next rule. */
	#runRule(rule: string): Verdict | "return" | undefined {
		let rest = rule;
		while (rest !== "") {
			const step = steps.find(([pattern]) => pattern.test(rest));
			if (!step) throw new Error(`the tracer has no meaning for "${rest}"`);
			const [pattern, meaning] = step;
			const match = pattern.exec(rest) ?? [];
			rest = rest.slice(match[0]?.length ?? 0).trim();
			const result = meaning(this.view, match.slice(1));
			if (result === false) return undefined;
			if (result === true) continue;
			if (typeof result === "string") return result;
			const verdict = this.#runChain(result.chain);
			if (verdict) return verdict;
			// A chain gone to does not come back here, one jumped to does.
			if (result.kind === "goto") return "return";
		}
		return undefined;
	}

	readonly view = {
		packet: () => this.#packet,
		machine: () => this.#machine,
		set: (name: string) => {
			const set = this.#rules.sets.get(name);
			if (!set) throw new Error(`no set ${name}`);
			return set;
		},
		dest: () => this.dest,
		port: () => this.port,
		out: () => this.out,
		mark: () => this.#mark,
		setMark: (mark: number) => {
			this.#mark = mark;
		},
		packetMark: () => this.#packetMark,
		setPacketMark: (mark: number) => {
			this.#packetMark = mark;
		},
		setZone: (zone: number) => {
			this.#zone = zone;
		},
		masquerade: () => {
			this.#from = "bridge";
		},
		lead: (target: string) => {
			const [address = "", port] = target.split(" . ");
			this.dest = address;
			if (port !== undefined) this.port = Number(port);
		},
	};
}

type View = Flow["view"];
type Result =
	| boolean
	| Verdict
	| "return"
	| { readonly kind: "goto" | "jump"; readonly chain: string };
type Meaning = (view: View, words: readonly string[]) => Result;

const isLike = (name: string, pattern: string) =>
	pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern;

const negated = (not: string | undefined, truth: boolean) => (not === undefined ? truth : !truth);

/** `goto vip_3`, `jump refusal`. */
function verdictOf(text: string | undefined): Result {
	if (text === undefined) return false;
	const [kind = "", chain = ""] = text.split(" ");
	if (kind !== "goto" && kind !== "jump") throw new Error(`no verdict: ${text}`);
	return { kind, chain };
}

/** Addresses, or ranges that end at a byte. */
function isAmong(set: ReadonlyMap<string, string>, address: string): boolean {
	if (set.has(address)) return true;
	return [...set.keys()].some((range) => {
		const [base = "", prefix] = range.split("/");
		if (prefix === undefined) return false;
		const bytes = Number(prefix) / 8;
		return (
			base.split(".").slice(0, bytes).join(".") === address.split(".").slice(0, bytes).join(".")
		);
	});
}

function mapped(view: View, name: string, store: (value: number) => void): Result {
	const value = view.set(name).get(view.packet().mac ?? "");
	if (value === undefined) return false;
	store(Number(value));
	return true;
}

const pair = (view: View) => `${view.packet().protocol} . ${view.port()}`;

/** In order: the longer pattern before the one that it begins with. */
const steps: readonly (readonly [RegExp, Meaning])[] = [
	[
		/^udp dport (\d+)/,
		(view, [port]) => view.packet().protocol === "udp" && view.port() === Number(port),
	],
	[/^th dport (\d+)/, (view, [port]) => view.port() === Number(port)],
	[
		/^meta l4proto \. th dport vmap @(\w+)/,
		(view, [name = ""]) => verdictOf(view.set(name).get(pair(view))),
	],
	[/^meta l4proto \. th dport @(\w+)/, (view, [name = ""]) => view.set(name).has(pair(view))],
	[
		/^meta l4proto (?:\{ ([\w, ]+) \}|(\w+))/,
		(view, [several, one]) => (several ?? one ?? "").split(", ").includes(view.packet().protocol),
	],
	[
		/^iifname (!= )?"([^"]+)"/,
		(view, [not, name = ""]) => negated(not, isLike(view.packet().from ?? "", name)),
	],
	[/^oifname (!= )?"([^"]+)"/, (view, [not, name = ""]) => negated(not, isLike(view.out(), name))],
	[
		/^ip saddr \. ip daddr @(\w+)/,
		(view, [name = ""]) => view.set(name).has(`${view.packet().source} . ${view.dest()}`),
	],
	[/^ip daddr vmap @(\w+)/, (view, [name = ""]) => verdictOf(view.set(name).get(view.dest()))],
	[/^ip daddr @(\w+)/, (view, [name = ""]) => isAmong(view.set(name), view.dest())],
	[/^ip saddr @(\w+)/, (view, [name = ""]) => isAmong(view.set(name), view.packet().source)],
	[/^ip daddr 127\.0\.0\.0\/8/, (view) => view.dest().startsWith("127.")],
	[/^ip saddr 127\.0\.0\.0\/8/, (view) => view.packet().source.startsWith("127.")],
	[
		/^fib daddr type local/,
		(view) => view.machine().own.includes(view.dest()) || view.dest().startsWith("127."),
	],
	// Only first packets are traced.
	[/^ct state new/, () => true],
	[/^ct direction (\w+)/, (_, [direction]) => direction === "original"],
	[
		/^ct mark and (\w+) == (\w+)/,
		(view, [mask, want]) => (view.mark() & Number(mask)) === Number(want),
	],
	[/^meta mark and (\w+) != 0/, (view, [mask]) => (view.packetMark() & Number(mask)) !== 0],
	[
		/^ct mark set ct mark or (\w+)/,
		(view, [mark]) => {
			view.setMark(view.mark() | Number(mark));
			return true;
		},
	],
	[/^ct mark set ether saddr map @(\w+)/, (view, [name = ""]) => mapped(view, name, view.setMark)],
	[
		/^ct original zone set ether saddr map @(\w+)/,
		(view, [name = ""]) => mapped(view, name, view.setZone),
	],
	[
		/^meta mark set (ct mark|\d+)/,
		(view, [value]) => {
			view.setPacketMark(value === "ct mark" ? view.mark() : Number(value));
			return true;
		},
	],
	[
		/^dnat to ip daddr \. numgen random mod (\d+) map @(\w+)/,
		(view, [count, name = ""]) => {
			const drawn = Math.floor(view.machine().random() * Number(count));
			return lead(view, name, `${view.dest()} . ${drawn}`);
		},
	],
	[
		/^dnat ip to meta l4proto \. th dport \. numgen random mod (\d+) map @(\w+)/,
		(view, [count, name = ""]) => {
			const drawn = Math.floor(view.machine().random() * Number(count));
			return lead(view, name, `${pair(view)} . ${drawn}`);
		},
	],
	[/^(goto|jump) (\w+)/, (_, [kind, chain]) => verdictOf(`${kind} ${chain}`)],
	[
		/^masquerade/,
		(view) => {
			view.masquerade();
			return "accept";
		},
	],
	[/^reject( with tcp reset)?/, () => "refused"],
	[/^notrack/, () => true],
	[/^drop/, () => "dropped"],
	[/^accept/, () => "accept"],
	[/^return/, () => "return"],
];

function lead(view: View, name: string, key: string): Result {
	const target = view.set(name).get(key);
	if (target === undefined) return false;
	view.lead(target);
	return "accept";
}
