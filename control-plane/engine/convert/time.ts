// Docker's times: moments as RFC 3339 text, durations as nanoseconds.

export function timestamp(ms: number): string {
	return new Date(ms).toISOString();
}

export function msOf(nanoseconds: number): number {
	return nanoseconds / 1e6;
}

/** Unix seconds with a fraction, as `since` and `until` come; undefined if absent or no number. */
export function msOfUnix(text: string | undefined): number | undefined {
	if (text === undefined || !/^\d+(\.\d+)?$/.test(text)) return undefined;
	return Math.floor(Number(text) * 1000);
}
