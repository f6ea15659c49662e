// What ours is called in a node's kernel, where two programs or two parts of the agent must agree on it.
//
// Everything begins with a prefix of ours: what has one and is not wanted is removed, nothing else is ever touched.

/** The WireGuard interface: one mesh per node. */
export const meshInterface = "skein0";

/** Prefix of the bridges, one per network. In nftables: `iifname "sk-*"`. */
export const bridgePrefix = "sk-";
/** Prefix of the VXLAN devices, one per network, each a port of its bridge. */
export const vxlanPrefix = "sx-";

/** Names end in the VNI in decimal: 24 bits are 8 digits, the kernel takes 15 characters. */
export const bridgeName = (vni: number) => `${bridgePrefix}${vni}`;
export const vxlanName = (vni: number) => `${vxlanPrefix}${vni}`;

/** `02` marks an address as locally given, `73:6b` as ours. */
export const gatewayMacPrefix = "02:73:6b:";

/**
 * The hardware address of all bridges of one node, from the node's index. It tells the other nodes who sent a frame,
 * so it is never shared and never changes.
 */
export function gatewayMac(index: number): string {
	const bytes = [(index >>> 16) & 255, (index >>> 8) & 255, index & 255];
	return gatewayMacPrefix + bytes.map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}
