// The sessions on the self-hosted program over a libSQL server: only when asked for, SKEIN_SESSIONS=all, since what is
// different there (the store) is tried by the transcripts on every run.

import { playSessions } from "./sessions.ts";

if (process.env["SKEIN_SESSIONS"] === "all") playSessions("sqld", "core");
