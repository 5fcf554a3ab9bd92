// The page Settings: a form made from the table of settings; the common keys first, the others folded.
import { get, Problem, send } from "./api.js";
import { coded, el, fill, notice } from "./dom.js";
import { rights, showReason } from "./rights.js";
import { fieldOf } from "./setting.js";

const OF_THE_MODEL = /^(training\.(?!mode|cv_below)|data\.(image_size|bit_depth|region|ignore_mask|resize|tiles)$)/;
const at = (id) => document.getElementById(id);

let may = { role: null, reason: "" };
let shown = null; // the settings that the server sent, with the digest of their file
let fields = []; // by key: the fields of the page

at("form").addEventListener("submit", save);
at("form").addEventListener("input", count);
at("discard").addEventListener("click", () => fields.forEach((field) => field.reset()) ?? count());
at("find").addEventListener("input", find);
addEventListener("beforeunload", (event) => changed().length && event.preventDefault());
addEventListener("pageshow", (event) => event.persisted && !changed().length && load());
await load();

async function load() {
  may = await rights(may);
  showReason(at("why-not"), may, load);
  try {
    show(await get("/settings"));
    say();
  } catch (error) {
    if (error.message !== may.reason) say(notice(error.message, "bad")); // said above, with what to do
  }
  at("loading").hidden = true;
  at("form").removeAttribute("aria-busy");
}

/** Show the settings. What was entered and not stored stays in its field. */
function show(settings) {
  const entered = new Map(changed().map((field) => [field.key, field.value]));
  shown = settings;
  fields = [];
  fill(at("sections"), settings.sections.map(section));
  for (const field of fields) if (entered.has(field.key)) field.enter(entered.get(field.key));
  count();
  find();
}

function section({ name, help, keys }) {
  const isCommon = name === "common";
  const made = keys.map((key) => fieldOf(key, isCommon ? "" : name, may.role !== "admin"));
  fields.push(...made);
  const [common, advanced] = [false, true].map((is) => made.filter((field) => field.isAdvanced === is).map((field) => field.element));
  const inside = [help ? el("p", { class: "quiet" }, coded(help)) : null, common, advanced.length && common.length ? el("h3", {}, "Advanced") : null, advanced];
  const id = `section-${name || "general"}`;
  if (isCommon) return el("section", { class: "card section", "aria-labelledby": id }, el("h2", { id }, "Common"), inside.flat());
  const fold = el("details", {}, el("summary", {}, `${titleOf(name)} (${keys.length})`), inside.flat());
  return el("section", { class: "card section" }, fold);
}

function titleOf(name) {
  if (name === "mlflow") return "MLflow";
  const words = name.replaceAll(".", ": ").replaceAll("_", " ");
  return words ? words[0].toUpperCase() + words.slice(1) : "General";
}

function changed() {
  return fields.filter((field) => field.isChanged);
}

function count() {
  const n = changed().length;
  at("save").hidden = n === 0;
  at("count").textContent = n === 1 ? "1 change is not saved yet." : `${n} changes are not saved yet.`;
}

/** Show the settings whose name or help has the words. Folds open while there are words. */
function find() {
  const words = at("find").value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const field of fields) field.element.hidden = !words.every((word) => field.text.includes(word));
  const said = fields.length && !fields.some((field) => !field.element.hidden) ? "No setting contains these words." : "";
  at("found").textContent = said;
  for (const card of document.querySelectorAll(".section")) {
    const fold = card.querySelector("details");
    const hits = [...card.querySelectorAll(".setting:not([hidden])")];
    card.hidden = hits.length === 0;
    if (fold) fold.open = words.length > 0;
  }
}

async function save(event) {
  event.preventDefault();
  const changes = changed().map((field) => ({ key: field.key, before: field.before, after: field.value }));
  if (!changes.length || at("store").disabled) return;
  at("store").disabled = true;
  fields.forEach((field) => field.say(""));
  try {
    const answer = await store({ digest: shown.digest, changes });
    if (answer) {
      fields.forEach((field) => field.reset());
      show(answer);
      say(notice(`Saved: ${answer.changed.length ? answer.changed.join(", ") : "no value was different"}. ${effect(answer)}`, "good"));
    }
  } catch (error) {
    say(notice(error.message, "bad"));
  }
  at("store").disabled = false;
}

function effect({ product, changed: keys }) {
  if (!keys.length) return "";
  const server = product === "default" ? "The server uses it after its next start." : "The server uses it from now on.";
  const kept = "A later training that continues from a model keeps the values of that model; to use the new values, start from scratch on the page Train.";
  return `${keys.some((key) => OF_THE_MODEL.test(key)) ? `The first training uses it. ${kept}` : "The next training uses it."} ${server}`;
}

/** Send the changes and return the new settings; null when the server refused them, which is then said at the fields. */
async function store(body) {
  try {
    return await (await send("/settings", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) })).json();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.status === 409) await reload(error.message);
    else if (error.status === 422 && error.fields) showWrong(error);
    else throw error;
    return null;
  }
}

/** Somebody else was first: show the values of now, with what was entered here kept, and what changed. */
async function reload(message) {
  const before = new Map(fields.map((field) => [field.key, field.before]));
  show(await get("/settings"));
  const others = fields.filter((field) => before.has(field.key) && before.get(field.key) !== field.before);
  for (const field of others) field.say(`Somebody else changed this value from “${before.get(field.key)}” to “${field.before}”.`);
  say(notice(message, "bad"));
  open(others[0]);
}

function showWrong({ fields: wrong, message }) {
  const found = fields.filter((field) => field.say(messageFor(field.key, wrong)));
  say(notice(found.length ? `Nothing was saved: ${found.length === 1 ? "one value is" : `${found.length} values are`} wrong. See the marked field.` : message, "bad"));
  open(found[0]);
}

/** What is wrong with a key, or with a value inside it, or with all that its section holds. */
function messageFor(key, wrong) {
  const hit = Object.keys(wrong).find((other) => other === key || other.startsWith(`${key}.`) || (key.startsWith(`${other}.`) && changed().some((field) => field.key === key)));
  return hit ? wrong[hit] : "";
}

function open(field) {
  if (!field) return;
  field.element.closest("details")?.setAttribute("open", "");
  field.input.focus();
}

function say(...notices) {
  fill(at("notices"), notices);
}
