// One service: its slots filled, its updates or its schedule under way, what was held back let run.

import type { Moment } from "../../../model/change.ts";
import type { NodeId } from "../../../model/id.ts";
import { isJob, type Service } from "../../../model/service.ts";
import type { Draft } from "../draft.ts";
import { reconcileGlobal } from "./global.ts";
import { reconcileJob } from "./job.ts";
import { rebalance } from "./rebalance.ts";
import { reconcileReplicated } from "./replicated.ts";
import { followRollout } from "./rollout.ts";
import { keepSchedule } from "./schedule.ts";
import { letRun, slotsOf } from "./slot.ts";
import { updateService } from "./update.ts";

/** `where` is on which nodes a global service may lack a task. */
export function reconcileService(
	draft: Draft,
	moment: Moment,
	service: Service,
	where: ReadonlySet<NodeId> | "all",
): void {
	const { mode } = service.spec;
	if (isJob(mode)) {
		keepSchedule(draft, moment, service);
		reconcileJob(draft, moment, draft.services.get(service.id) ?? service, mode, where);
	} else {
		if (mode.kind === "replicated") reconcileReplicated(draft, moment, service, mode.replicas);
		else reconcileGlobal(draft, moment, service, where);
		updateService(draft, moment, service);
		followRollout(draft, moment, service.id);
		rebalance(draft, moment, draft.services.get(service.id) ?? service);
	}
	letRun(draft, moment, slotsOf(service, draft.tasksOfService(service.id).values()));
}
