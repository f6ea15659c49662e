// How much an organization may have. Null: as much as it likes.
//
// All but `clusters` count in each of its clusters: they lie on different databases, where no commit can see their sum.

export interface Limits {
	readonly clusters: number | null;
	readonly nodes: number | null;
	readonly services: number | null;
	/** What its services ask to run at once. */
	readonly tasks: number | null;
	/** Bytes of its secrets and configs, sealed: a third more than they say. */
	readonly contents: number | null;
}

export type LimitName = keyof Limits;

/** What counts in each cluster. */
export type Usage = Readonly<Record<Exclude<LimitName, "clusters">, number>>;

/** What there is of each, beside how much there may be. */
export type Usages<Name extends LimitName> = Readonly<
	Record<Name, { readonly used: number; readonly limit: number | null }>
>;

export function besideLimits<Name extends LimitName>(
	usage: Readonly<Record<Name, number>>,
	limits: Limits,
): Usages<Name> {
	const names = Object.keys(usage) as Name[];
	return Object.fromEntries(
		names.map((name) => [name, { used: usage[name], limit: limits[name] }]),
	) as Usages<Name>;
}

export const noLimits: Limits = {
	clusters: null,
	nodes: null,
	services: null,
	tasks: null,
	contents: null,
};

export const limitNames = Object.keys(noLimits) as readonly LimitName[];

const unit = { "": 1, B: 1, kB: 1e3, MB: 1e6, GB: 1e9 } as const;

/** `nodes=20 contents=10MB`, with spaces or commas between them. Throws what is wrong with it. */
export function parseLimits(text: string | undefined): Limits {
	const limits = { ...noLimits };
	for (const entry of (text ?? "").split(/[\s,]+/).filter(Boolean)) {
		const [, name = "", digits, size = ""] = /^([a-z]+)=(\d{1,12})([kMG]?B)?$/.exec(entry) ?? [];
		const known = limitNames.find((each) => each === name);
		if (!known || (size !== "" && known !== "contents")) {
			throw new Error(
				`SKEIN_LIMITS: ${entry} is no limit such as nodes=20 or contents=10MB; there are ${limitNames.join(", ")}`,
			);
		}
		limits[known] = Number(digits) * unit[size as keyof typeof unit];
	}
	return limits;
}

/** As people read it: `20`, `10 MB`. */
export function showAmount(name: LimitName, amount: number): string {
	if (name !== "contents") return String(amount);
	const [word, bytes] = (Object.entries(unit) as [string, number][]).findLast(
		([, each]) => amount >= each,
	) ?? ["B", 1];
	return `${Math.round((amount / bytes) * 10) / 10} ${word}`;
}
