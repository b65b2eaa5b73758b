// A right solution of the challenge of rate-limiting-algorithms in Node.js, for the test that the grader doesn't think
// in Rust. Whole numbers only: a token is a million parts, and RATE has at most three digits after the point, so each
// millisecond brings a whole number of parts.

import http from "node:http";

const TOKEN = 1_000_000;
const perMs = Math.round(Number(process.env.RATE) * 1000);
const full = Number(process.env.BURST) * TOKEN;

const buckets = new Map(); // key -> { parts, at }
let newest = 0;

function partsAt(bucket, now) {
  const missing = full - bucket.parts;
  const elapsed = Math.max(0, now - bucket.at);
  return elapsed * perMs >= missing ? full : bucket.parts + elapsed * perMs;
}

function take({ key, cost, now_ms: now }) {
  newest = Math.max(newest, now);
  const bucket = buckets.get(key) ?? { parts: full, at: now };
  const at = Math.max(bucket.at, now);
  let parts = partsAt(bucket, at);
  const price = cost * TOKEN;
  const allowed = price <= parts;
  if (allowed) parts -= price;
  buckets.set(key, { parts, at });
  const wait = allowed ? 0 : price > full ? null : Math.ceil((price - parts) / perMs);
  return { allowed, remaining: Math.floor(parts / TOKEN), retry_after_ms: wait };
}

function stats() {
  for (const [key, bucket] of buckets) if (partsAt(bucket, newest) === full) buckets.delete(key);
  return { keys: buckets.size };
}

http
  .createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    const answer = request.url === "/stats" ? stats() : take(JSON.parse(body));
    response.setHeader("Content-Type", "application/json");
    response.end(JSON.stringify(answer));
  })
  .listen({ port: Number(process.env.PORT), backlog: 1024 });
