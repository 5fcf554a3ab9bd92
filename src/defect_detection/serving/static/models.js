// The page Models: what decides, which versions there are, and what changed that.
import { get, post } from "./api.js";
import { championOf } from "./champion.js";
import { confirm } from "./confirm.js";
import { decisionOn, figuresOf, outcomeWord } from "./decision.js";
import { brief, fill, moment, notice } from "./dom.js";
import { historyTable } from "./past.js";
import { poll } from "./poll.js";
import { rights, showReason } from "./rights.js";
import { versionsTable } from "./versions.js";

const LOOK_EVERY_MS = 10_000;
const CHANGING = "Checking the files, changing production, and checking again. This takes some seconds …";
const at = (id) => document.getElementById(id);

let known = { models: null, history: null, may: { role: null, reason: "" } };
let shown = "";

at("moves-only").addEventListener("change", showHistory);
await poll(look, LOOK_EVERY_MS);

/** Ask for everything and show what has changed; a refusal of one thing leaves the others. */
async function look(news = []) {
  const may = await rights(known.may);
  const [models, history] = await Promise.allSettled([get("/models"), may.role ? get("/history?limit=200") : null]);
  const wrong = [models, history].filter((one) => one.status === "rejected").map((one) => notice(one.reason.message, "bad"));
  known = { models: models.value ?? known.models, history: history.value ?? known.history, may };
  showNotices([...news, ...wrong]);
  const state = JSON.stringify(known);
  if (state === shown) return;
  shown = state;
  showReason(at("why-not"), may, () => look());
  at("champion").removeAttribute("aria-busy");
  fill(at("champion"), at("champion-title"), championOf(known, rollBack));
  if (models.value) fill(at("versions"), versionsTable(known, promote));
  showHistory();
}

function showHistory() {
  fill(at("history"), historyTable(known, at("moves-only").checked));
}

function showNotices(first) {
  const { models, history } = known;
  const served = models?.champion;
  const drift = history?.in_production && served?.name === history.name && served.version !== history.in_production;
  const lines = [
    models?.problem && served ? notice(`The promoted version is not served: ${models.problem}`, "bad") : null,
    drift && !models.problem ? notice(`Version ${history.in_production} is loading; version ${served.version} is used until then.`) : null,
    ...(history?.notes ?? []).map((note) => notice(note)),
  ];
  const wanted = [...first, ...lines.filter(Boolean)];
  const text = wanted.map((one) => one.textContent).join("\n");
  if (text !== at("notices").textContent || first.length) at("notices").replaceChildren(...wanted);
}

// -- changes ----------------------------------------------------------------------------------------------------------

async function promote(one) {
  const { in_production: now, name } = known.history;
  await change({
    heading: `Promote ${one.name} ${one.version}?`,
    happens: [
      now === null ? "It will inspect all parts from now on." : `It will inspect all parts from now on, instead of version ${now}.`,
      one.name === name ? null : `It is copied to ${name} first, as its newest version.`,
      ...whatSpeaksForIt(one),
      "Its files are checked first. Inspection continues meanwhile. You can roll back later.",
    ],
    button: `Promote version ${one.version}`,
    run: (reason) => post(`/models/${one.version}/promote`, { reason, ...(one.name === name ? {} : { name: one.name }), ...(hasPassed(one) ? { gated: true } : {}) }),
  });
}

/** Whether the gate passed a version, in comparison with what is in production now. */
function hasPassed(one) {
  const decision = decisionOn(one, known.history);
  return decision?.outcome === "passed" && decision.before === known.history.in_production;
}

/** What the gate said of a version, with its figures: what whoever promotes it by hand should know. */
function whatSpeaksForIt(one) {
  const { accuracy, escapes, overkill } = figuresOf(one);
  const figures = [["accuracy", accuracy], ["escapes", escapes], ["overkill", overkill]].filter(([, value]) => value).map((pair) => pair.join(" "));
  const tested = figures.length ? `On test images: ${figures.join(", ")}.` : null;
  const remark = one.tags.evidence_remark;
  const decision = decisionOn(one, known.history);
  if (!decision) return [tested, remark, "There is no decision of the gate: nothing shows that this version is better than the current model."];
  const { outcome, when, why } = decision;
  if (hasPassed(one)) return [tested, remark, ["The gate passed it on ", moment(when), "."]];
  const then = outcome === "promote" ? "That decision compared this version with the model in production at that time. The gate does not run again now." : "The gate does not run again now: you overrule its decision.";
  return [tested, remark, [`The gate decided “${outcomeWord(outcome)}” on `, moment(when), ": ", brief(why, 200)], then];
}

async function rollBack(to) {
  await change({
    heading: `Roll back to version ${to}?`,
    happens: [
      `Version ${to} will inspect all parts from now on, instead of version ${known.history.in_production}.`,
      "The current version is then withdrawn: a later evaluation of the same model will not promote it.",
      "Its files are checked first. Inspection continues meanwhile.",
    ],
    button: `Roll back to version ${to}`,
    run: (reason) => post("/models/rollback", { to, reason }),
  });
}

async function change(asked) {
  const done = await confirm({ ...asked, doing: CHANGING, asksReason: true });
  if (!done) return;
  await look([notice(`Version ${done.in_production} is in production. It is used here as soon as it is loaded.`, "good")]);
  at("champion-title").focus();
}
