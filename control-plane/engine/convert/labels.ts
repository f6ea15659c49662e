// Labels that begin with `skein.`: the user's are held to what they can say, ours are taken out of what comes back.

import { deadlineLabel, drainLabel, parseDuration } from "../../../model/labels.ts";
import { badArgument } from "../errors.ts";

const durations: readonly string[] = [deadlineLabel, drainLabel];

export function checkOwnLabels(labels: Readonly<Record<string, string>>): void {
	for (const label of durations) {
		const text = labels[label];
		if (text === undefined || parseDuration(text) !== undefined) continue;
		throw badArgument(
			`label ${label}: ${JSON.stringify(text)} is no duration: write it as 90s, 10m or 1m30s`,
		);
	}
}
