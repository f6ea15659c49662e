// Labels on services by which users say to Skein what Docker's API has no word for. docs/labels.md tells users.

/** How long a rollout may go on without another slot done. */
export const deadlineLabel = "skein.rollout.deadline";
/** How long a task that has left the tables may go on with the connections it has. */
export const drainLabel = "skein.drain";

/** On a node or on the cluster: whether its agents go to newer programs by themselves: `no`, or the one version they may go to. */
export const agentUpdateLabel = "skein.agent.update";

/** On a node: `no` keeps builds away from it; where a node has `yes`, only such nodes build. */
export const builderLabel = "skein.build";

/** Where nobody said: enough for what is under way, and not felt where nothing is. */
export const defaultDrainMs = 10_000;

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** As Docker's own options are written: `90s`, `1m30s`, `0`. Undefined for anything else. */
export function parseDuration(text: string): number | undefined {
	if (text === "0") return 0;
	if (!/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(text)) return undefined;
	const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)];
	return parts.reduce((sum, [, count, unit = ""]) => sum + Number(count) * (unitMs[unit] ?? 0), 0);
}

/** What a label says; the default where there is none, or one that says nothing. */
export function durationOf<Default>(
	labels: Readonly<Record<string, string>>,
	label: string,
	otherwise: Default,
): number | Default {
	const text = labels[label];
	return (text === undefined ? undefined : parseDuration(text)) ?? otherwise;
}
