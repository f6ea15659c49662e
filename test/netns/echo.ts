// A server that tells who it is and whom it sees: `NAME ADDRESS PORT`, over TCP and UDP on each of the ports given.
//
//     bun echo.ts NAME PORT…

const [name = "", ...ports] = process.argv.slice(2);
for (const port of ports.map(Number)) {
	Bun.listen({
		hostname: "0.0.0.0",
		port,
		socket: {
			open: (socket) => void socket.write(`${name} ${socket.remoteAddress} ${socket.remotePort}\n`),
			// Echoes what it is sent, so that a connection can be seen to live.
			data: (socket, data) => void socket.write(data),
			error: () => {},
		},
	});
	await Bun.udpSocket({
		hostname: "0.0.0.0",
		port,
		socket: {
			data: (socket, _, fromPort, fromAddress) => {
				socket.send(`${name} ${fromAddress} ${fromPort}\n`, fromPort, fromAddress);
			},
			error: () => {},
		},
	});
}
console.log("up");
