// What the caller may do, so that what he may not is disabled and says why.
import { askForKey, keyHeaders, address } from "./api.js";
import { el } from "./dom.js";

const GONE = "The server does not respond. Check that it is running and that this device is on the network, then try again.";

/**
 * Return { role: "admin", "operator" or null, reason, needsKey }: what to say where that isn't enough, and whether another key helps. Never opens a dialog;
 * the server decides anew. `before` is what was known: it stays while the server does not respond.
 */
export async function rights(before) {
  let [response, said] = [null, {}];
  try {
    response = await fetch(address("/access"), { headers: keyHeaders() });
    said = await response.json();
  } catch {
    return before?.role ? before : { role: null, reason: GONE, needsKey: false };
  }
  if (!response.ok) return { role: null, reason: said.detail, needsKey: [401, 403].includes(response.status) };
  if (said.role === "admin") return { role: said.role, reason: "", needsKey: false };
  return { role: said.role, reason: `The key '${said.name}' may only read. Changes need a key with the role admin.`, needsKey: true };
}

/** Show why something is disabled, and let a key be given or try again; `again` is called then. What is shown already stays as it is. */
export function showReason(place, { reason, needsKey }, again) {
  place.hidden = !reason;
  if (place.firstElementChild?.textContent === reason) return;
  const key = el("button", { type: "button", click: async () => (await askForKey(true)) && again() }, "Enter a key");
  const other = needsKey ? key : el("button", { type: "button", click: () => again() }, "Try again");
  place.replaceChildren(...(reason ? [el("span", {}, reason), other] : []));
}

/** Say in place of something that it cannot be seen. */
export function unseen({ needsKey }) {
  return el("p", { class: "quiet" }, needsKey ? "A key is needed to see this." : "This cannot be seen at the moment.");
}
