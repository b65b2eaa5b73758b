// Runs programs that are told in JSON, [{"log":"a"},{"tick":[{"log":"b"}]}], `times` times each. Every run begins in a
// fresh I/O callback and is over when nothing that it scheduled is left.
const fs = require("node:fs");

const { programs, times } = JSON.parse(process.argv[2]);
const schedule = {
  tick: (callback) => process.nextTick(callback),
  micro: (callback) => queueMicrotask(callback),
  immediate: (callback) => setImmediate(callback),
  timeout: (callback) => setTimeout(callback, 0),
};

function start(program) {
  return new Promise((done) => {
    let order = "";
    let left = 1;
    const call = (steps) => {
      for (const step of steps) {
        const [[kind, what]] = Object.entries(step);
        if (kind === "log") {
          order += what;
        } else {
          left += 1;
          schedule[kind](() => call(what));
        }
      }
      left -= 1;
      if (left === 0) done(order);
    };
    fs.readFile(__filename, () => call(program));
  });
}

(async () => {
  const orders = [];
  for (const program of programs) {
    const seen = [];
    for (let run = 0; run < times; run += 1) seen.push(await start(program));
    orders.push(seen);
  }
  console.log(JSON.stringify(orders));
})();
