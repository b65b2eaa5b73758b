// {{title}}
//
// {{contract}}

import http from "node:http";

/** Your work begins here: `url` has the path and the query, `body` is a Buffer. */
async function answer(method, url, headers, body) {
  return { status: 501 };
}

const server = http.createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const url = new URL(request.url, "http://localhost");
  const { status, headers = {}, content = "" } = await answer(
    request.method, url, request.headers, Buffer.concat(chunks),
  ).catch((error) => {
    console.error(error);
    return { status: 500 };
  });
  response.writeHead(status, headers).end(content);
});

server.listen(Number(process.env.PORT ?? 8080), "127.0.0.1");
