// The sessions on the self-hosted program over a libSQL server. What is different there is the store.

import { playSessions } from "./sessions.ts";

playSessions("sqld", "core");
