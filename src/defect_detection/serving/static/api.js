// Talk to the server of this page. Who needs a key is asked for one once; it stays in the tab. The link of `defect page` brings one.

const KEY = "defect-detection-key";
const LINK = "#link=";
const ROOT = new URL("..", import.meta.url); // below which path this server lies, seen from here

/** Return the full address of one of the server's paths: "/jobs", or one that an answer names. */
export function address(path) {
  return new URL(path.startsWith(ROOT.pathname) ? path : path.replace(/^\//, ""), ROOT).href;
}

/** An answer that says no. `message` is in words that can be shown as they are; `status` is 0 when no server answered. */
export class Problem extends Error {
  constructor(status, message, fields = null) {
    super(message);
    this.status = status;
    this.fields = fields; // what is wrong with each value, where the answer says so
  }
}

/** Send a request and return the response. Asks for a key when the server wants one, then tries once more. */
export async function send(path, options = {}) {
  const response = await attempt(path, options);
  if (response.ok) return response;
  if (response.status === 401 && !declined && (await askForKey(true))) {
    const again = await attempt(path, options);
    if (again.ok) return again;
    declined = again.status === 401; // a page with several requests asks once
    throw await problemOf(again);
  }
  throw await problemOf(response);
}

/** Return the JSON that a GET answers. */
export async function get(path) {
  return (await send(path)).json();
}

/** POST a JSON body (or none) and return the JSON of the answer. */
export async function post(path, body, headers = {}) {
  const json = body === undefined ? {} : { body: JSON.stringify(body) };
  const type = body === undefined ? {} : { "Content-Type": "application/json" };
  return (await send(path, { method: "POST", headers: { ...type, ...headers }, ...json })).json();
}

/** Return the address of an image as an <img> takes it: the key can't be sent from there. Free it with URL.revokeObjectURL. */
export async function imageUrl(path) {
  return URL.createObjectURL(await (await send(path)).blob());
}

/** Say whether this tab has a key. */
export function hasKey() {
  return sessionStorage.getItem(KEY) !== null;
}

/** Headers that say that this page sends a request, about which product, with the key of this tab, if there is one; for requests that `send` can't make. */
export function keyHeaders() {
  const key = sessionStorage.getItem(KEY);
  const { product } = document.documentElement.dataset;
  return { "X-Requested-With": "defect-detection", ...(product && { "X-Product": product }), ...(key && { "X-API-Key": key }) };
}

await useLink().catch(() => {}); // what imports this waits for it
let asking = null;
let declined = false; // who cancelled, or gave a key that is not valid, is not asked again, until the button is pressed or another page is opened

/** Show the dialog; resolve to true when a key was given. Requests that fail at the same time share one dialog. */
export function askForKey(required = false) {
  asking ??= dialogAnswer(required).finally(() => (asking = null));
  return asking;
}

function dialogAnswer(required) {
  const dialog = document.getElementById("key-dialog");
  const field = document.getElementById("key");
  field.required = required;
  field.value = sessionStorage.getItem(KEY) ?? "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    const done = () => {
      const used = dialog.returnValue === "use";
      declined = !used;
      if (used) keep(field.value.trim());
      resolve(used && field.value.trim() !== "");
    };
    dialog.addEventListener("close", done, { once: true });
  });
}

function keep(key) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

/** Exchange the code in the address, where `defect page` put it, for a key of this tab. The address forgets it at once. */
async function useLink() {
  const code = location.hash.startsWith(LINK) && location.hash.slice(LINK.length);
  if (!code) return;
  history.replaceState(null, "", location.pathname + location.search);
  const answer = await fetch(address("/access/page"), { method: "POST", headers: { "X-API-Key": code } });
  const said = await answer.json();
  if (answer.ok) keep(said.key);
  else document.getElementById("key-why").textContent = said.detail;
}

async function attempt(path, options) {
  try {
    return await fetch(address(path), { ...options, headers: { Accept: "application/json", ...options.headers, ...keyHeaders() } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "The server does not respond. Check that it is running and that this device is on the network, then try again.");
  }
}

async function problemOf(response) {
  let said = {};
  try {
    said = await response.json();
  } catch {
    // not from us: a proxy, say
  }
  return new Problem(response.status, said.detail || `The server answered ${response.status} ${response.statusText}.`, said.fields);
}
