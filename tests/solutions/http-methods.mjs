// A right solution of the challenge of http-methods in Node.js, for the test that the grader doesn't think in Rust.

import http from "node:http";
import { createHash, randomUUID } from "node:crypto";

const documents = new Map();

const METHODS = {
  collection: { GET: list, HEAD: list, POST: create, OPTIONS: options },
  document: { GET: read, HEAD: read, PUT: replace, DELETE: remove, OPTIONS: options },
};

function list() {
  return json(200, [...documents.keys()]);
}

function create(_name, body) {
  const name = randomUUID();
  documents.set(name, parsed(body));
  return { status: 201, headers: { Location: `/docs/${name}` } };
}

function read(name) {
  if (!documents.has(name)) return { status: 404 };
  const answer = json(200, documents.get(name));
  answer.headers.ETag = `"${createHash("sha1").update(answer.content).digest("base64url")}"`;
  return answer;
}

function replace(name, body) {
  const document = parsed(body);
  const status = documents.has(name) ? 200 : 201;
  documents.set(name, document);
  return json(status, document);
}

function remove(name) {
  return { status: documents.delete(name) ? 204 : 404 };
}

function options(_name, _body, methods) {
  return { status: 204, headers: { Allow: Object.keys(methods).join(", ") } };
}

function json(status, value) {
  const content = JSON.stringify(value, null, 2);
  return { status, content, headers: { "Content-Type": "application/json" } };
}

function parsed(body) {
  try {
    return JSON.parse(body);
  } catch {
    throw { status: 400 };
  }
}

function answer(method, path, body) {
  const [, root, name, ...rest] = path.split("/");
  if (root !== "docs" || rest.length) return { status: 404 };
  const methods = name === undefined ? METHODS.collection : METHODS.document;
  const handler = methods[method];
  if (!handler) return { ...options(name, body, methods), status: 405 };
  return handler(name, body, methods);
}

http
  .createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    let result;
    try {
      result = answer(request.method, new URL(request.url, "http://x").pathname, body);
    } catch (refused) {
      if (!refused.status) throw refused;
      result = refused;
    }
    const { status, headers = {}, content } = result;
    if (content !== undefined) headers["Content-Length"] = Buffer.byteLength(content);
    response.writeHead(status, headers).end(request.method === "HEAD" ? undefined : content);
  })
  .listen(process.env.PORT);
