// The version of what control plane and agents say to each other. One number, one dated line per change.
//
// 1 (2026-11-20): join, held assignment, report, requests to the node's engine (model/relay.ts).
// 2 (2026-11-28): each side says its version and speaks the lower one; an assignment may name the agent's own program
//                 (`agent`), and a description the one that runs; an assignment may name another control plane (`movedTo`),
//                 builds and images (`builds`, `images`), of which reports tell; an image may be an index, which the
//                 assignment has in it, and whose builds' reports say what their manifests are.

/** What this code speaks best. */
export const protocolVersion = 2;

/** The control plane answers agents of the two versions before its own, in theirs. */
export const oldestProtocol = Math.max(1, protocolVersion - 2);

/** Header of every agent's request and every answer to one. */
export const protocolHeader = "skein-protocol";

/** UDP port of WireGuard on every node unless told otherwise: the only port that nodes must reach one another on. */
export const wireguardPort = 51820;

/** VXLAN's UDP port inside the mesh. Not 4789, so that Docker Swarm can run beside us and nothing on the underlay matters. */
export const vxlanPort = 4790;

/** UDP port inside the mesh by which agents see that their peers are alive. */
export const watchPort = 4792;

/** UDP port inside the mesh and the overlays by which agents see that packets of full size pass. */
export const probePort = 4793;
