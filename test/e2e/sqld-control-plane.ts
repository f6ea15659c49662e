// The self-hosted control plane for a lab, over a libSQL server of its own. Ends with SIGTERM.

import { startSqld } from "../store/databases.ts";

const database = await startSqld();
process.on("exit", () => void database.kill());
process.env["SKEIN_DATABASE_URL"] = database.url;
await import("../../control-plane/main.ts");
