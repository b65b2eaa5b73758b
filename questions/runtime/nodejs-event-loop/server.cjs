// Answers /ping at once and /work after some computing in one of three forms. Every answer carries the number that it
// has among all answers of this server.
const http = require("node:http");
const { monitorEventLoopDelay, performance } = require("node:perf_hooks");
const { Worker, isMainThread, parentPort, workerData } = require("node:worker_threads");

const say = (key, what) => console.log(JSON.stringify({ [key]: what }));
const now_us = () => Number(process.hrtime.bigint() / 1000n);

// Uses `ms` milliseconds of CPU time, however long a busy machine takes to grant them.
function compute(ms) {
  const start = process.cpuUsage();
  let used = 0;
  for (let x = 1; used < ms; ) {
    for (let i = 0; i < 20_000; i += 1) x = Math.imul(x, 31) + i;
    const { user, system } = process.cpuUsage(start);
    used = (user + system) / 1000;
  }
}

if (!isMainThread) {
  compute(workerData);
  parentPort.postMessage("done");
} else {
  const [, , block_ms, pieces] = process.argv.map(Number);
  const forms = {
    blocking: async () => compute(block_ms),
    pieces: async () => {
      for (let piece = 0; piece < pieces; piece += 1) {
        compute(block_ms / pieces);
        await new Promise((resume) => setImmediate(resume));
      }
    },
    worker: () => new Promise((done) => new Worker(__filename, { workerData: block_ms }).once("message", done)),
  };

  let answers = 0;
  let timer = 0;
  setInterval(() => (timer += 1), 1);
  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  const measured = async () => {
    const before = delay.count;
    while (delay.count === before) await new Promise((resume) => setTimeout(resume, 1));
  };

  const answer = (response) => {
    answers += 1;
    response.end(String(answers));
    return answers;
  };

  const work = async (form, response) => {
    say(`${form} began`, now_us());
    const timer_before = timer;
    const use_before = performance.eventLoopUtilization();
    await forms[form]();
    const seen = {
      timer: timer - timer_before,
      utilisation: performance.eventLoopUtilization(use_before).utilization,
      answer: answer(response),
      ended_us: now_us(),
    };
    // A turn's delay is known when the next one has begun.
    await measured();
    const longest_delay_ms = delay.max / 1e6;
    delay.reset();
    await measured();
    say(form, { ...seen, longest_delay_ms });
  };

  const server = http.createServer((request, response) => {
    const [, path, form] = request.url.split("/");
    if (path === "work") work(form, response);
    else answer(response);
  });
  server.listen(0, "127.0.0.1", async () => {
    await measured();
    say("port", server.address().port);
  });
}
