// A right solution of the challenge of stampede-vs-penetration in Node.js, for the test that the grader doesn't think
// in Rust.

import http from "node:http";

const { SOURCE, PORT } = process.env;
const [TTL, STALE, NEG, LIMIT] = ["TTL_MS", "STALE_MS", "NEG_MS", "LIMIT_MS"].map((name) => Number(process.env[name]));
const MOST_ABSENT = 200;

const present = new Map(); // id -> { body, fetched }
const absent = new Map(); // id -> { body, fetched }, oldest first
const calls = new Map(); // id -> the promise of the call that is under way

function call(id) {
  const under = calls.get(id);
  if (under) return { promise: under, how: "wait" };
  const promise = fetch(`${SOURCE}/item/${id}`, { signal: AbortSignal.timeout(LIMIT) })
    .then(async (answer) => {
      const body = Buffer.from(await answer.arrayBuffer());
      if (answer.status !== 200 && answer.status !== 404) throw new Error(`the source answered ${answer.status}`);
      remember(id, answer.status, body);
      return { status: answer.status, body };
    })
    .finally(() => calls.delete(id));
  promise.catch(() => {});
  calls.set(id, promise);
  return { promise, how: "miss" };
}

function remember(id, status, body) {
  present.delete(id);
  absent.delete(id);
  const item = { body, fetched: performance.now() };
  if (status === 200) {
    present.set(id, item);
    return;
  }
  absent.set(id, item);
  if (absent.size > MOST_ABSENT) absent.delete(absent.keys().next().value);
}

function remembered(id) {
  const now = performance.now();
  const here = present.get(id);
  if (here && now < here.fetched + TTL) return { status: 200, body: here.body, how: "hit" };
  if (here && now < here.fetched + TTL + STALE) {
    call(id);
    return { status: 200, body: here.body, how: "stale" };
  }
  const gone = absent.get(id);
  if (gone && now < gone.fetched + NEG) return { status: 404, body: gone.body, how: "hit" };
}

async function answer(id) {
  const known = remembered(id);
  if (known) return known;
  const { promise, how } = call(id);
  try {
    return { ...(await promise), how };
  } catch {
    return { status: 502, body: "" };
  }
}

http
  .createServer(async (request, response) => {
    const { status, body, how } = await answer(request.url.slice("/item/".length));
    response.writeHead(status, how ? { "X-Cache": how } : {}).end(body);
  })
  .listen({ port: Number(PORT), backlog: 1024 });
