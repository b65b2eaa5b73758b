// The same lines run as a CommonJS main module, as an ES module, and inside a callback of fs.readFile.
const order = [];
const log = (label) => order.push(label);

setTimeout(log, 0, "timeout");
setImmediate(log, "immediate");
process.nextTick(log, "tick");
Promise.resolve("promise").then(log);
(async () => { await null; log("await"); })();
log("sync");

process.on("exit", () => console.log(JSON.stringify(order)));
