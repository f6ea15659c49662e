// The month's bill of the hosted endpoint: one formula, and the public prices of 2026 (docs/cost.md).

/** Of a month. */
export interface Usage {
	/** Requests that a worker answered, and runs of its cron. */
	readonly workerRequests: number;
	/** Requests, alarms and WebSocket messages (twenty for one) that reached an object. Answers by the runtime are free. */
	readonly objectRequests: number;
	/** For which objects were in memory and could not sleep. */
	readonly objectSeconds: number;
	readonly cpuMs: number;
	readonly rowsRead: number;
	readonly rowsWritten: number;
}

const million = 1e6;
const gigabytes = 0.128;

export function monthly(usage: Usage): {
	readonly dollars: number;
	readonly parts: Readonly<Record<string, number>>;
} {
	const beyond = (used: number, included: number) => Math.max(0, used - included);
	const databasePlan = usage.rowsWritten > 25 * million || usage.rowsRead > 2.5e9 ? 24.92 : 4.99;
	const [readIncluded, writtenIncluded] =
		databasePlan > 5 ? [100e9, 100 * million] : [2.5e9, 25 * million];
	const parts = {
		plans: 5 + databasePlan,
		"worker requests": (beyond(usage.workerRequests, 10 * million) / million) * 0.3,
		"worker time": (beyond(usage.cpuMs, 30 * million) / million) * 0.02,
		"object requests": (beyond(usage.objectRequests, million) / million) * 0.15,
		"object time": (beyond(usage.objectSeconds * gigabytes, 400_000) / million) * 12.5,
		"rows read": beyond(usage.rowsRead, readIncluded) / 1e9,
		"rows written": beyond(usage.rowsWritten, writtenIncluded) / million,
	};
	return { dollars: Object.values(parts).reduce((sum, part) => sum + part, 0), parts };
}
