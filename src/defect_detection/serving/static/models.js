// The page Models: what decides, which versions there are, and what changed that.
import { address, get, keyHeaders, post, send } from "./api.js";
import { confirm } from "./confirm.js";
import { brief, el, facts, moment, notice, table } from "./dom.js";
import { rights, showReason } from "./rights.js";

const LOOK_EVERY_MS = 10_000;
const CHANGING = "The files are checked, then production moves and is checked again. That takes some seconds …";
const at = (id) => document.getElementById(id);

let known = { models: null, history: null, may: { role: null, reason: "" } };
let shown = "";

at("moves-only").addEventListener("change", showHistory);
await look();
setInterval(() => document.visibilityState === "visible" && !document.querySelector("dialog[open]") && look(), LOOK_EVERY_MS);

/** Ask for everything and show what has changed; a refusal of one thing leaves the others. */
async function look(news = []) {
  const may = await rights().catch(() => known.may);
  const [models, history] = await Promise.allSettled([get("/models"), may.role ? get("/history?limit=200") : null]);
  const wrong = [models, history].filter((one) => one.status === "rejected").map((one) => notice(one.reason.message, "bad"));
  known = { models: models.value ?? known.models, history: history.value ?? known.history, may };
  showNotices([...news, ...wrong]);
  const state = JSON.stringify(known);
  if (state === shown) return;
  shown = state;
  showReason(at("why-not"), may.reason, () => look());
  showChampion();
  showVersions();
  showHistory();
}

function showNotices(first) {
  const { models, history } = known;
  const served = models?.champion;
  const drift = history?.in_production && served?.name === history.name && served.version !== history.in_production;
  const lines = [
    models?.problem && served ? notice(`What is promoted isn't served: ${models.problem}`, "bad") : null,
    drift && !models.problem ? notice(`Version ${history.in_production} is being loaded; version ${served.version} decides until then.`) : null,
    ...(history?.notes ?? []).map((note) => notice(note)),
  ];
  const wanted = [...first, ...lines.filter(Boolean)];
  const text = wanted.map((one) => one.textContent).join("\n");
  if (text !== at("notices").textContent || first.length) at("notices").replaceChildren(...wanted);
}

// -- the champion -----------------------------------------------------------------------------------------------------

function showChampion() {
  const { models, history } = known;
  const place = at("champion");
  place.removeAttribute("aria-busy");
  const title = at("champion-title");
  if (!models) return place.replaceChildren(title, el("p", { class: "quiet" }, "The server has not said what is in production."));
  if (!models.champion) return place.replaceChildren(title, ...nothing(models.problem));
  const decides = models.champion;
  const version = models.versions.find((one) => one.name === decides.name && one.version === decides.version);
  const since = history?.entries.find((one) => one.after === decides.version && one.state === "done");
  place.replaceChildren(
    title,
    el("p", { class: "big" }, `${decides.name} ${decides.version}`),
    el("div", { class: "figures" }, figuresOf(version, decides)),
    factsOf(decides, since),
    wayBack(),
  );
}

function nothing(problem) {
  return [
    el("p", { class: "big" }, "No model yet"),
    el("p", {}, problem || "The model is being loaded."),
    el("p", {}, el("a", { href: address("/page/retraining") }, "Start a retraining"), " once there are images to learn from."),
  ];
}

function figuresOf(version, decides) {
  const tags = version?.tags ?? {};
  const auroc = decides.validation.auroc ?? decides.validation.val_auroc;
  const figures = [
    ["Accuracy on test images", tags.test_correct],
    ["Escapes: defects passed as OK", tags.test_escapes],
    ["AUROC on validation", auroc === undefined ? null : auroc.toFixed(4)],
  ];
  return figures
    .filter(([, value]) => value)
    .map(([name, value]) => el("div", { class: "figure" }, el("p", { class: "quiet" }, name), el("p", { class: "value" }, value)));
}

function factsOf(decides, since) {
  const band = decides.review_low == null ? null : `${decides.review_low.toFixed(3)} to ${decides.review_high.toFixed(3)}`;
  return facts([
    ["Decides since", since ? [moment(since.when), `, by ${since.who}`] : null],
    ["Trained", moment(decides.created)],
    ["Threshold", `${decides.threshold.toFixed(3)} (${decides.threshold_rule})`],
    ["For a person", band && `scores from ${band}`],
    ["Sees", `${decides.image_size} × ${decides.image_size} px`],
    ["Types of defects", decides.defect_types.join(", ")],
  ]);
}

function wayBack() {
  const to = known.history?.rollback_to;
  if (!known.history) return null;
  if (to == null) return el("p", { class: "quiet" }, "By the history nothing was in production before it, so there is nothing to go back to.");
  const button = el(
    "button",
    { type: "button", class: "danger", disabled: known.may.role !== "admin", "aria-describedby": "why-not", click: () => rollBack(to) },
    `Roll back to version ${to}`,
  );
  return el("div", { class: "buttons" }, button);
}

// -- versions ---------------------------------------------------------------------------------------------------------

function showVersions() {
  const { models, history } = known;
  if (!models) return;
  const rows = models.versions.map((one) => ({ cells: versionCells(one), class: isInProduction(one) ? "now" : null }));
  const columns = ["Version", "Registered", "Accuracy", "Escapes", "Report", "Change"];
  const empty = el("p", { class: "quiet" }, "No version is registered yet: training and evaluation make the first.");
  at("versions").replaceChildren(rows.length ? table("Versions of the registered models, the newest first", columns, rows) : empty);
}

function isInProduction(one) {
  return one.name === known.history?.name ? one.version === known.history.in_production : one.aliases.includes("prod");
}

function versionCells(one) {
  const name = el("span", { class: "name" }, `${one.name} ${one.version}`);
  const badges = one.aliases.map((alias) => el("span", { class: "badge" }, alias === "prod" ? "in production" : alias));
  const accuracy = one.tags.test_correct ?? one.tags.test_accuracy ?? "–";
  return [
    [name, " ", ...badges],
    moment(one.created),
    accuracy,
    one.tags.test_escapes ?? "–",
    reportOf(one),
    changeOf(one),
  ].map((cell) => cell ?? "–");
}

function reportOf(one) {
  const isProduct = one.name === known.history?.name;
  const isAbout = ({ candidate_run_id: run, after }) => (run && one.run_id ? run === one.run_id : isProduct && after === one.version);
  const entry = known.history?.entries.find((entry) => entry.report && isAbout(entry));
  return entry ? reportLink(entry.report, `Report on ${one.name} ${one.version}`) : null;
}

/** A link can't send a key: with one, the report is fetched and saved. */
function reportLink(path, label) {
  const save = async (event) => {
    if (!Object.keys(keyHeaders()).length) return;
    event.preventDefault();
    const url = URL.createObjectURL(await (await send(path)).blob());
    el("a", { href: url, download: `${label}.html` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  };
  return el("a", { href: address(path), target: "_blank", rel: "noopener", "aria-label": label, click: save }, "Report");
}

function changeOf(one) {
  if (!known.history || one.name !== known.history.name) return null;
  if (isInProduction(one)) return "decides now";
  const disabled = known.may.role !== "admin";
  return el(
    "button",
    { type: "button", disabled, "aria-describedby": "why-not", "aria-label": `Promote ${one.name} ${one.version}`, click: () => promote(one) },
    "Promote",
  );
}

// -- history ----------------------------------------------------------------------------------------------------------

function showHistory() {
  const { history, may } = known;
  const movesOnly = at("moves-only").checked;
  if (!history) return at("history").replaceChildren(el("p", { class: "quiet" }, may.reason || "The server has not said what it was."));
  const entries = history.entries.filter((one) => !movesOnly || one.after !== null);
  const columns = ["When", "Production", "How", "Who", "Accuracy", "Escapes", "Why", "Report"];
  const rows = entries.map((one) => ({ cells: historyCells(one) }));
  const empty = el("p", { class: "quiet" }, "Nothing has been decided yet.");
  const more = history.total > history.entries.length ? el("p", { class: "quiet" }, `The latest ${history.entries.length} of ${history.total}; defect history --all shows all.`) : null;
  at("history").replaceChildren(...[rows.length ? table("What was in production when, by whom and why", columns, rows) : empty, more].filter(Boolean));
}

function historyCells(one) {
  const unfinished = one.state === "done" ? "" : ` (${one.state})`;
  return [
    moment(one.when),
    step(one),
    `${one.kind}${unfinished}${one.kind === "evaluation" && one.after === null ? `: ${one.outcome}` : ""}`,
    one.who,
    one.accuracy || "–",
    one.escapes || "–",
    brief(one.why),
    one.report ? reportLink(one.report, `Report of the decision on ${one.candidate}`) : "–",
  ];
}

function step({ before, after }) {
  if (after === null) return before === null ? "stays empty" : `${before} stays`;
  return before === null ? `first: ${after}` : `${before} → ${after}`;
}

// -- changes ----------------------------------------------------------------------------------------------------------

async function promote(one) {
  const now = known.history.in_production;
  await change({
    heading: `Promote ${one.name} ${one.version}?`,
    happens: [
      now === null ? "It decides about every part from now on." : `It decides about every part from now on, instead of version ${now}.`,
      "No gate is run: nothing says that it is better than what it replaces.",
      "Its files are checked first. Nothing stops inspecting meanwhile, and it can be rolled back.",
    ],
    button: `Promote version ${one.version}`,
    run: (reason) => post(`/models/${one.version}/promote`, { reason }),
  });
}

async function rollBack(to) {
  await change({
    heading: `Roll back to version ${to}?`,
    happens: [
      `Version ${to} decides about every part from now on, instead of version ${known.history.in_production}.`,
      "What was rolled back from doesn't return by itself: a later evaluation of the same model won't promote it.",
      "Its files are checked first. Nothing stops inspecting meanwhile.",
    ],
    button: `Roll back to version ${to}`,
    run: (reason) => post("/models/rollback", { to, reason }),
  });
}

async function change(asked) {
  const done = await confirm({ ...asked, doing: CHANGING, asksReason: true });
  if (!done) return;
  await look([notice(`Version ${done.in_production} is in production. It decides here as soon as it is loaded.`, "good")]);
  at("champion-title").focus();
}
