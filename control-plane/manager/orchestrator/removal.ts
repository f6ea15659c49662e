// A service that is being removed: its tasks wind down. The reaper forgets them, and then the service.

import type { Service } from "../../../model/service.ts";
import type { Draft } from "../draft.ts";
import { retire } from "./slot.ts";

export function windDown(draft: Draft, service: Service): void {
	for (const id of [...draft.tasksOfService(service.id).keys()]) retire(draft, id, "remove");
}
