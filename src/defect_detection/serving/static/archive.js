// Send a zip in pieces, and have its images added. After a break the same file goes on where it was.
import { post, send } from "./api.js";

const PIECE = 4 * 1024 * 1024; // bytes

/** Say whether a file is a zip. */
export function isZip({ name }) {
  return name.toLowerCase().endsWith(".zip");
}

/**
 * Send a zip and unpack it. `patiently(run)` repeats a request that the server cannot take now, `sent(bytes)` and `unpacked(step)` say how far it is;
 * `isStopped()` ends it between two requests.
 */
export async function sendZip(file, { patiently, sent, unpacked, isStopped }) {
  const begun = () => post("/data/archives", { name: file.name, size: file.size, modified: file.lastModified / 1000 });
  let { id, received } = await patiently(begun);
  while (received < file.size && !isStopped()) {
    sent(received);
    received = await patiently(() => sendPiece(id, file, received, begun));
  }
  for (let next = 0; next !== null && !isStopped(); ) {
    const step = await patiently(() => post(`/data/archives/${id}/unpack`, { start: next }));
    unpacked(step);
    next = step.next;
  }
}

async function sendPiece(id, file, offset, begun) {
  try {
    const headers = { "Content-Type": "application/octet-stream" };
    const answer = await send(`/data/archives/${id}?offset=${offset}`, { method: "POST", headers, body: file.slice(offset, offset + PIECE) });
    return (await answer.json()).received;
  } catch (error) {
    if (error.status === 409) return (await begun()).received; // another tab has sent some of it
    throw error;
  }
}
