// The version of what control plane and agents say to each other. One number, one dated line per change.

/** 1 (2026-11): join, held assignment, report. */
export const protocolVersion = 1;

/** Header of every agent's request and every answer to one. */
export const protocolHeader = "skein-protocol";

/** UDP port of WireGuard on every node unless told otherwise: the only port that nodes must reach one another on. */
export const wireguardPort = 51820;

/** VXLAN's UDP port inside the mesh. Not 4789, so that Docker Swarm can run beside us and nothing on the underlay matters. */
export const vxlanPort = 4790;
