// At the same moment: four password hashes, the status of a file, and an echo over a socket. What is done first?
const { pbkdf2 } = require("node:crypto");
const fs = require("node:fs");
const net = require("node:net");

const [, , host, rounds] = process.argv;
const ITERATIONS = 60_000;

function round(port) {
  return new Promise((done) => {
    const finished = [];
    const finish = (what) => {
      finished.push(what);
      if (finished.length === 6) done(finished);
    };
    for (let i = 0; i < 4; i += 1) pbkdf2("secret", "salt", ITERATIONS, 64, "sha512", () => finish("hash"));
    fs.stat(__filename, () => finish("stat"));
    const socket = net.connect({ host, port, family: 4 }, () => socket.end("hello"));
    socket.once("data", () => finish("echo"));
  });
}

const server = net.createServer((socket) => socket.pipe(socket));
server.listen(0, "127.0.0.1", async () => {
  const seen = [];
  for (let i = 0; i < Number(rounds); i += 1) seen.push(await round(server.address().port));
  server.close(() => console.log(JSON.stringify(seen)));
});
