// What the caller may do, so that what he may not is disabled and says why.
import { address, askForKey, keyHeaders } from "./api.js";
import { el } from "./dom.js";

/** Return { role: "admin", "operator" or null, reason }: what to say where that isn't enough. Never opens a dialog; the server decides anew. */
export async function rights() {
  const response = await fetch(address("/access"), { headers: keyHeaders() });
  const said = await response.json();
  if (!response.ok) return { role: null, reason: said.detail };
  if (said.role === "admin") return { role: said.role, reason: "" };
  return { role: said.role, reason: `The key '${said.name}' may only read. Changes need a key with the role admin.` };
}

/** Show why something is disabled, and let a key be given; `again` is called when one was. What is shown already stays as it is. */
export function showReason(place, reason, again) {
  place.hidden = !reason;
  if (place.firstElementChild?.textContent === reason) return;
  const other = el("button", { type: "button", click: async () => (await askForKey(true)) && again() }, "Enter a key");
  place.replaceChildren(...(reason ? [el("span", {}, reason), other] : []));
}
