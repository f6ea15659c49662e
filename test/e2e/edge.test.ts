// The sessions at the edge, typed into the real CLI over TCP. Nobody's poll is held there: whatever happens promptly was
// rung for.

import { playSessions } from "./sessions.ts";

playSessions("edge", "core");
