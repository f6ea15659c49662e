// One service: its slots filled, its updates under way, what was held back let run.

import type { Moment } from "../../../model/change.ts";
import type { NodeId } from "../../../model/id.ts";
import type { Service } from "../../../model/service.ts";
import type { Draft } from "../draft.ts";
import { reconcileGlobal } from "./global.ts";
import { reconcileReplicated } from "./replicated.ts";
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
	if (mode.kind === "replicated") reconcileReplicated(draft, moment, service, mode.replicas);
	else reconcileGlobal(draft, moment, service, where);
	updateService(draft, moment, service);
	letRun(draft, moment, slotsOf(service, draft.tasksOfService(service.id).values()));
}
