// The sessions, on the self-hosted control plane as it comes.

import { playSessions } from "./sessions.ts";

playSessions("file", "whole");
