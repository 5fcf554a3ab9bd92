// What came of a training: the gate's word in plain words, its reasons, what would help, and the button Promote.
import { get, post } from "./api.js";
import { confirm } from "./confirm.js";
import { reportLink } from "./decision.js";
import { el, fill, notice } from "./dom.js";
import { hasEnded } from "./job.js";
import { here } from "./product.js";
import { reportFold } from "./report.js";

const CHANGING = "Checking the files, changing production, and checking again. This takes some seconds …";
const OUTCOMES = {
  promote: ["good", "Promoted: the new model is in production."],
  passed: ["good", "Passed: the gate allows the new model."],
  hold: ["", "Held: the gate does not allow the new model."],
  "insufficient evidence": ["", "Not enough evidence: the test images do not show that the new model is good enough."],
};

/** Show it in `place` once the job has ended; `may` says what the caller may do. Nothing is shown again that is there already. */
export async function showResult(place, { job, messages, isRead }, may) {
  const key = `${job.id} ${job.state} ${may.role} ${hasEnded(job) ? messages.length : 0} ${isRead}`;
  if (place.dataset.shown === key) return;
  place.dataset.shown = key;
  if (job.state === "queued") return fill(place, el("p", { class: "quiet" }, "One training runs at a time, for all products. This training starts when the earlier ones have ended."));
  if (!hasEnded(job)) return fill(place);
  if (job.state === "failed") return fill(place, notice(`It failed: ${job.reason ?? "see the log"}`, "bad"), unchanged());
  if (job.state === "cancelled") return fill(place, notice(job.reason ?? "It was cancelled."), unchanged());
  const history = isRead && may.role ? await get("/history?limit=200").catch(() => null) : null;
  if (place.dataset.shown === key) fill(place, ...decided(place, { job, messages, isRead }, may, history));
}

function decided(place, shown, may, history) {
  const { job, messages } = shown;
  const last = messages.findLast((message) => message.outcome);
  const entry = entryOf(messages, history);
  const [kind, words] = OUTCOMES[job.outcome] ?? ["", "It ended without a decision: see the log."];
  const isPast = job.outcome === "passed" && history && entry && entry.before !== history.in_production; // it said what was in production then
  return [
    notice(last?.reason && !isPast ? `${words} ${last.reason}.` : words, kind),
    job.outcome === "passed" ? promotion(place, shown, may, history, entry, last?.version) : null,
    ...listed("Compared", messages.filter((message) => message.compared).map((message) => sentence(message.compared))),
    ...listed("What would help", messages.filter((message) => message.helps).map((message) => sentence(message.helps))),
    reasons(messages.filter((message) => message.reason && !message.outcome).map((message) => message.text), kind !== "good"),
    entry?.report ? reportFold(entry.report, "Report on the test images") : null,
    el("p", {}, entry?.report ? [reportLink(entry.report, `Report on ${entry.candidate}`), " on a separate page · "] : null, el("a", { href: here("/page/models") }, "Models and history")),
  ];
}

function listed(title, texts) {
  return texts.length ? [el("h3", {}, title), el("ul", { class: "reasons" }, texts.map((text) => el("li", {}, text)))] : [];
}

/** Every check of the gate: folded where nothing is to be done about it. */
function reasons(texts, open) {
  return texts.length ? el("details", { open }, el("summary", {}, "Reasons of the gate"), el("ul", { class: "reasons" }, texts.map((text) => el("li", {}, text)))) : null;
}

function sentence(text) {
  return `${text[0].toUpperCase()}${text.slice(1)}.`;
}

/** The entry of the history about the model that the training kept; undefined where there is none. */
function entryOf(messages, history) {
  const kept = messages.find((message) => message.step === "test" && message.model)?.model;
  return history?.entries.find((one) => one.kind === "evaluation" && one.candidate === kept);
}

/** The button Promote, or why it is not there. */
function promotion(place, shown, may, history, entry, version) {
  if (!history || version === undefined) return null; // the log is not read yet
  const moved = history.entries.find((one) => one.after === version && one.state === "done");
  if (history.in_production === version) return notice(`Version ${version} is in production.`, "good");
  if (moved) return notice(`Version ${version} was in production and was replaced.`);
  if (entry && entry.before !== history.in_production) return notice("Production has changed since this decision, so the gate compared the new model with an earlier model. Train again.");
  const attributes = { type: "button", class: "primary", disabled: may.role !== "admin", "aria-describedby": "why-not", click: () => promote(place, shown, may, history, version) };
  return el("div", { class: "buttons" }, el("button", attributes, `Promote version ${version}`));
}

async function promote(place, shown, may, history, version) {
  const now = history.in_production;
  const done = await confirm({
    heading: `Promote version ${version}?`,
    happens: [
      now === null ? "It will inspect all parts from now on." : `It will inspect all parts from now on, instead of version ${now}.`,
      "The gate passed it. Its files are checked first. Inspection continues meanwhile.",
      "You can roll back later, on the page Models.",
    ],
    button: "Promote it",
    doing: CHANGING,
    kind: "primary",
    asksReason: false,
    run: () => post(`/models/${version}/promote`, { reason: "The result of the training was accepted on the page", gated: true }),
  });
  if (!done) return;
  delete place.dataset.shown;
  await showResult(place, shown, may);
  dispatchEvent(new Event("promoted"));
  document.getElementById("job-title").focus();
}

function unchanged() {
  return el("p", { class: "quiet" }, "No result was kept. Production is unchanged.");
}
