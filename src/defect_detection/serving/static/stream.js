// Follow server-sent events with the access key, which EventSource can't send.
import { Problem, send } from "./api.js";

const AGAIN_MS = 2_000; // after the server has ended a stream, or was lost
const LATER_MS = 10_000; // when too many follow logs already

/**
 * Call `onEvent({ event, data })` for each event until one is called "end" or `signal` is aborted. A stream that breaks off goes on where
 * it was. `onState("follows" | "lost" | "waits")` tells how it stands.
 */
export async function follow(path, { onEvent, onState, signal }) {
  let place = "";
  while (!signal.aborted) {
    try {
      const headers = { Accept: "text/event-stream", ...(place ? { "Last-Event-ID": place } : {}) };
      const response = await send(path, { headers, signal });
      onState("follows");
      for await (const event of events(response.body)) {
        place = event.id || place;
        onEvent(event);
        if (event.event === "end") return;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Problem && error.status !== 0 && error.status !== 503) throw error;
      onState(error.status === 503 ? "waits" : "lost");
      await pause(error.status === 503 ? LATER_MS : AGAIN_MS, signal);
    }
  }
}

/** Yield the events of a stream: { id, event, data }. Comments are left out. */
async function* events(body) {
  let rest = "";
  for await (const text of body.pipeThrough(new TextDecoderStream())) {
    const blocks = (rest + text).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const found = eventOf(block);
      if (found) yield found;
    }
  }
}

function eventOf(block) {
  const fields = {};
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) fields[line.slice(0, colon)] = line.slice(colon + 1).replace(/^ /, "");
  }
  return "data" in fields ? { event: "message", ...fields } : null;
}

function pause(ms, signal) {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
    signal.addEventListener("abort", resolve, { once: true });
  });
}
