// A binary heap: the least of many, while they change.

export interface Heap<Item> {
	readonly size: number;
	push(item: Item): void;
	/** The least, left where it is. */
	peek(): Item | undefined;
	/** Takes the least out; undefined when there is none. */
	pop(): Item | undefined;
}

/** `isLess` must be a strict order, and an item must not change its rank while it is in the heap. */
export function heapOf<Item>(
	items: readonly Item[],
	isLess: (a: Item, b: Item) => boolean,
): Heap<Item> {
	const heap = [...items];
	for (let at = (heap.length >> 1) - 1; at >= 0; at--) sink(heap, at, isLess);
	return {
		get size() {
			return heap.length;
		},
		push(item) {
			heap.push(item);
			rise(heap, heap.length - 1, isLess);
		},
		peek: () => heap[0],
		pop() {
			const least = heap[0];
			const last = heap.pop();
			if (last !== undefined && heap.length > 0) {
				heap[0] = last;
				sink(heap, 0, isLess);
			}
			return least;
		},
	};
}

function rise<Item>(heap: Item[], from: number, isLess: (a: Item, b: Item) => boolean): void {
	for (let at = from; at > 0; ) {
		const parent = (at - 1) >> 1;
		if (!swapIfLess(heap, at, parent, isLess)) return;
		at = parent;
	}
}

function sink<Item>(heap: Item[], from: number, isLess: (a: Item, b: Item) => boolean): void {
	for (let at = from; ; ) {
		const left = 2 * at + 1;
		if (left >= heap.length) return;
		const right = left + 1;
		const a = heap[left] as Item;
		const child = right < heap.length && isLess(heap[right] as Item, a) ? right : left;
		if (!swapIfLess(heap, child, at, isLess)) return;
		at = child;
	}
}

function swapIfLess<Item>(
	heap: Item[],
	lower: number,
	upper: number,
	isLess: (a: Item, b: Item) => boolean,
): boolean {
	const a = heap[lower] as Item;
	const b = heap[upper] as Item;
	if (!isLess(a, b)) return false;
	heap[lower] = b;
	heap[upper] = a;
	return true;
}
