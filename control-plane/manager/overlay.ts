// A map that can be written without touching the one beneath.

const gone = Symbol("gone");

/** The base must not change while this is in use. `undefined` is no value. */
export class Overlay<Key, Value> implements ReadonlyMap<Key, Value> {
	readonly #base: ReadonlyMap<Key, Value>;
	readonly #over = new Map<Key, Value | typeof gone>();
	#size: number;

	constructor(base: ReadonlyMap<Key, Value>) {
		this.#base = base;
		this.#size = base.size;
	}

	get size(): number {
		return this.#size;
	}

	get(key: Key): Value | undefined {
		const written = this.#over.get(key);
		if (written === undefined) return this.#base.get(key);
		return written === gone ? undefined : written;
	}

	has(key: Key): boolean {
		const written = this.#over.get(key);
		return written === undefined ? this.#base.has(key) : written !== gone;
	}

	set(key: Key, value: Value): this {
		if (!this.has(key)) this.#size++;
		this.#over.set(key, value);
		return this;
	}

	delete(key: Key): boolean {
		if (!this.has(key)) return false;
		this.#size--;
		if (this.#base.has(key)) this.#over.set(key, gone);
		else this.#over.delete(key);
		return true;
	}

	/** What was written, in the order in which it was first; undefined where the base's was deleted. */
	*changed(): Generator<[Key, Value | undefined]> {
		for (const [key, value] of this.#over) yield [key, value === gone ? undefined : value];
	}

	/** The base's in its order, then what is new. */
	*#all(): Generator<[Key, Value], undefined> {
		if (this.#over.size === 0) {
			yield* this.#base;
			return;
		}
		for (const entry of this.#base) {
			const written = this.#over.get(entry[0]);
			if (written === undefined) yield entry;
			else if (written !== gone) yield [entry[0], written];
		}
		for (const [key, value] of this.#over) {
			if (value !== gone && !this.#base.has(key)) yield [key, value];
		}
	}

	entries(): MapIterator<[Key, Value]> {
		return this.#all();
	}

	*keys(): Generator<Key, undefined> {
		for (const [key] of this.#all()) yield key;
	}

	values(): MapIterator<Value> {
		// Most overlays are never written; a generator costs several times the map's own walk.
		return this.#over.size === 0 ? this.#base.values() : this.#allValues();
	}

	*#allValues(): Generator<Value, undefined> {
		for (const [, value] of this.#all()) yield value;
	}

	[Symbol.iterator](): MapIterator<[Key, Value]> {
		return this.#all();
	}

	forEach(
		tell: (value: Value, key: Key, map: ReadonlyMap<Key, Value>) => void,
		thisArg?: unknown,
	): void {
		for (const [key, value] of this.#all()) tell.call(thisArg, value, key, this);
	}
}
