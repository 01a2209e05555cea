// The same as with_h11.py, by Node's own HTTP server over llhttp, its URLs, forms and JSON.

import { readFileSync, readdirSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { Duplex } from "node:stream";

const directory = process.argv[2];
const utf8 = new TextDecoder("utf-8", { fatal: true });

async function fields(type, body) {
  const media = type.split(";")[0].trim().toLowerCase();
  if (body.length === 0) return [];
  if (media === "application/x-www-form-urlencoded") return [...new URLSearchParams(utf8.decode(body))];
  if (media === "multipart/form-data") {
    // Node reads no bodies whose boundary is shorter than those of browsers.
    if (!/boundary="?[^"]{27,70}"?$/.test(type)) return null;
    const form = await new Response(body, { headers: { "content-type": type } }).formData();
    return [...form].filter(([, value]) => typeof value === "string");
  }
  let named;
  try {
    named = JSON.parse(utf8.decode(body));
  } catch {
    return [];
  }
  return Object.entries(named).filter(([, value]) => typeof value === "string");
}

async function line(request, body) {
  const headers = [];
  for (let at = 0; at < request.rawHeaders.length; at += 2)
    headers.push([request.rawHeaders[at].toLowerCase(), request.rawHeaders[at + 1]]);
  const url = new URL(request.url, "http://upstream");
  if (Object.keys(request.trailers).length > 0) throw new Error("trailers");
  return {
    version: request.httpVersion,
    method: request.method,
    target: request.url,
    headers,
    body: body.toString("latin1"),
    path: url.pathname.split("/").map(decodeURIComponent),
    query: [...url.searchParams],
    fields: await fields(headers.find(([name]) => name === "content-type")?.[1] ?? "", body),
  };
}

// Everything of one file, and why it is not all requests.
function read(bytes) {
  return new Promise((done) => {
    const found = [];
    let error = null;
    const fail = (why) => (error ??= String(why));
    const server = createServer({ insecureHTTPParser: false, maxHeaderSize: 1 << 20, requestTimeout: 0, headersTimeout: 0 });
    server.maxHeadersCount = 0;
    server.on("request", (request, response) => {
      const chunks = [];
      request.on("data", (chunk) => chunks.push(chunk));
      request.on("error", fail);
      request.on("end", () => {
        found.push([request, Buffer.concat(chunks)]);
        response.end();
      });
    });
    for (const other of ["upgrade", "connect", "checkContinue", "checkExpectation"])
      server.on(other, (request, socket) => {
        fail(other);
        socket.end();
      });
    server.on("clientError", (why, socket) => {
      fail(`${why.code}: ${why.message}`);
      socket.destroy();
    });
    let at = 0;
    const socket = new Duplex({
      read() {
        const piece = bytes.subarray(at, at + 65536);
        at += piece.length;
        this.push(piece.length > 0 ? piece : null);
      },
      write(chunk, encoding, written) {
        written();
      },
    });
    socket.setTimeout = () => socket;
    socket.on("error", fail);
    socket.on("close", () => done({ found, error }));
    server.emit("connection", socket);
  });
}

for (const file of readdirSync(directory).sort()) {
  let { found, error } = await read(readFileSync(join(directory, file)));
  const lines = [];
  for (const [request, body] of found) {
    try {
      lines.push(JSON.stringify({ file, ...(await line(request, body)) }));
    } catch (failed) {
      error ??= String(failed);
      break;
    }
  }
  lines.push(JSON.stringify({ file, error }));
  process.stdout.write(lines.join("\n") + "\n");
}
