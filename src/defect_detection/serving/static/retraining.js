// The page Retraining: start one, follow what it writes, cancel it, and see what came of it.
import { showAdvice } from "./advice.js";
import { get, post } from "./api.js";
import { confirm } from "./confirm.js";
import { duration, el, moment, notice, table } from "./dom.js";
import { poll } from "./poll.js";
import { here } from "./product.js";
import { rights, showReason } from "./rights.js";
import { follow } from "./stream.js";

const LOOK_EVERY_MS = 5_000;
const MOST_LINES = 2_000; // kept in the page: the end of a long log
const STATES = { queued: "waits", running: "runs", succeeded: "ended", failed: "failed", cancelled: "cancelled" };
// The steps that its messages name, in order
const STEPS = [
  ["data", "Data"],
  ["training", "Training"],
  ["validation", "Validation"],
  ["test", "Test and gate"],
  ["decision", "Decision"],
];
const NOTES = { done: "done", skipped: "not needed", now: "under way", stopped: "ended here", later: "" };
const OUTCOMES = {
  promote: ["good", "Promoted: the new model is in production."],
  hold: ["", "Held: the model in production stays."],
  "insufficient evidence": ["", "Not enough evidence: the model in production stays."],
};
const at = (id) => document.getElementById(id);

let may = { role: null, reason: "" };
let jobs = [];
let listed = "";
let shown = null; // the job whose log is followed, with its messages
let following = new AbortController();
let advised = ""; // what the advice on the page depends on: the role, and the retrainings that have ended

at("start").addEventListener("click", start);
at("cancel").addEventListener("click", cancel);
await poll(look, LOOK_EVERY_MS);
setInterval(showFacts, 1_000);

async function look() {
  may = await rights().catch(() => may);
  showReason(at("why-not"), may.reason, look);
  if (may.role) await lookForJobs();
  else at("jobs").replaceChildren(el("p", { class: "quiet" }, "A key is needed to see them."));
  const waiting = jobs.some((one) => one.state === "queued");
  showAdviceOnce();
  at("start").disabled = may.role !== "admin" || waiting;
  at("start").title = waiting ? "A retraining is already waiting" : "";
}

/** Ask for advice when the page opens and after each retraining: the server reads all images for it. */
function showAdviceOnce() {
  const state = `${may.role} ${jobs.filter(hasEnded).length}`;
  if (state === advised) return;
  advised = state;
  if (may.role) showAdvice(at("advice"));
  else at("advice").replaceChildren(el("p", { class: "quiet" }, "A key is needed to see it."));
}

async function lookForJobs() {
  try {
    ({ jobs } = await get("/jobs?limit=50"));
    say();
  } catch (error) {
    return say(notice(error.message, "bad"));
  }
  const active = jobs.find((one) => one.state === "running") ?? jobs.find((one) => one.state === "queued");
  if (!shown && jobs.length) show(active ?? jobs[0]);
  else if (active && shown && hasEnded(shown.job) && !shown.isChosen) show(active);
  refresh();
  showJobs();
}

function refresh() {
  const now = jobs.find((one) => one.id === shown?.job.id);
  if (!now) return;
  shown.job = now;
  showJob();
}

function say(...notices) {
  if (notices.length || at("notices").childElementCount) at("notices").replaceChildren(...notices);
}

function hasEnded(job) {
  return job.ended_at !== null;
}

// -- one job ----------------------------------------------------------------------------------------------------------

/** Show a job and follow its log. `isChosen`: by the reader, so that a new one doesn't take its place. */
function show(job, isChosen = false) {
  following.abort();
  following = new AbortController();
  shown = { job, messages: [], isChosen };
  at("log").replaceChildren();
  at("log-state").textContent = "";
  at("job").hidden = false;
  showJob();
  const mine = shown;
  follow(job.log, {
    signal: following.signal,
    onEvent: (event) => mine === shown && received(event),
    onState: (state) => mine === shown && showStream(state),
  }).catch((error) => mine === shown && (at("log-state").textContent = error.message));
}

function received({ event, data }) {
  if (event === "end") {
    at("log-state").textContent = shown.messages.length ? "" : "The log is empty or was deleted.";
    if (!hasEnded(shown.job)) look();
    return;
  }
  const message = messageOf(data);
  shown.messages.push(message);
  if (shown.job.state === "queued" && shown.messages.length === 1) look();
  const log = at("log");
  const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  log.append(`${message.text}\n`);
  if (log.childNodes.length > MOST_LINES) log.firstChild.remove();
  if (isAtEnd) log.scrollTop = log.scrollHeight;
  showSteps();
  showOutcome();
}

/** A line of the log: what the retraining tells as JSON, or a text that something else in its process wrote. */
function messageOf(line) {
  try {
    const message = JSON.parse(line);
    if (typeof message?.text === "string") return message;
  } catch {
    // a text
  }
  return { text: line };
}

function showStream(state) {
  const said = { follows: "", lost: "The server does not respond; trying again …", waits: "Too many browsers follow logs at the moment; trying again …" };
  at("log-state").textContent = said[state];
}

function showJob() {
  const { job } = shown;
  at("job-title").replaceChildren(hasEnded(job) ? "Latest retraining" : "This retraining ", " ", badge(job));
  if (shown.isChosen) at("job-title").firstChild.textContent = "Retraining";
  at("log-title").textContent = hasEnded(job) ? "Log" : "Live log";
  at("cancel").hidden = hasEnded(job) || isCancelling(job);
  at("cancel").disabled = may.role !== "admin";
  showFacts();
  showSteps();
  showOutcome();
}

function badge(job) {
  return el("span", { class: `badge ${job.state}` }, isCancelling(job) ? "is being cancelled" : STATES[job.state]);
}

/** Whether it was cancelled, and what it started has not ended yet. */
function isCancelling(job) {
  return job.state === "running" && job.cancel_requested;
}

function showFacts() {
  if (!shown) return;
  const { job } = shown;
  const from = new Date(job.started_at ?? job.created_at);
  const soFar = duration((new Date(job.ended_at ?? Date.now()) - from) / 1000);
  const took = { queued: `waits for ${soFar}`, running: `for ${soFar}` }[job.state] ?? `took ${soFar}`;
  const asked = `Requested by ${job.by}, `;
  if (at("job-facts").dataset.shown === job.id + took) return;
  at("job-facts").dataset.shown = job.id + took;
  at("job-facts").replaceChildren(asked, moment(job.created_at), `; ${took}`);
}

function showSteps() {
  const { job, messages } = shown;
  const reached = Math.max(...messages.map(stepOf), job.state === "queued" ? -1 : 0);
  const latest = messages.findLast((message) => message.step || "done" in message); // progress belongs to the step before it
  const detail = latest && ("done" in latest || latest.step === "training") ? latest.text : "";
  const seen = new Set([0, ...messages.map(stepOf)]);
  const items = STEPS.map(([, name], i) => {
    const state = i > reached ? "later" : i < reached ? (seen.has(i) ? "done" : "skipped") : { succeeded: "done", running: "now", queued: "now" }[job.state] ?? "stopped";
    const note = state === "now" && detail ? detail : NOTES[state];
    return el("li", { class: state, "aria-current": state === "now" ? "step" : null }, el("span", { class: "step" }, name), el("span", { class: "quiet" }, note));
  });
  const text = items.map((item) => item.className + item.textContent).join();
  if (at("steps").dataset.shown === text) return;
  at("steps").dataset.shown = text;
  at("steps").replaceChildren(...items);
}

/** The place of a message's step in `STEPS`; -1: it names none. */
function stepOf(message) {
  return STEPS.findIndex(([step]) => step === message.step);
}

/** What came of it: the gate's word, and what it gave as reasons. */
function showOutcome() {
  const { job, messages } = shown;
  const place = at("outcome");
  const key = `${job.state} ${job.outcome} ${job.reason} ${hasEnded(job) ? messages.length : 0}`;
  if (place.dataset.shown === key) return;
  place.dataset.shown = key;
  place.replaceChildren(...(hasEnded(job) ? outcomeOf(job, messages) : []));
}

function outcomeOf(job, messages) {
  if (job.state === "failed") return [notice(`It failed: ${job.reason ?? "see the log"}`, "bad"), unchanged()];
  if (job.state === "cancelled") return [notice(job.reason ?? "It was cancelled."), unchanged()];
  const [kind, words] = OUTCOMES[job.outcome] ?? ["", "It ended without a decision: see the log."];
  const last = messages.findLast((message) => message.outcome)?.reason;
  const reasons = messages.filter((message) => message.reason && !message.outcome);
  return [
    notice(last ? `${words} ${last}.` : words, kind),
    reasons.length ? el("h3", {}, "Why") : null,
    reasons.length ? el("ul", { class: "reasons" }, reasons.map((message) => el("li", {}, message.text))) : null,
    el("p", {}, el("a", { href: here("/page/models") }, "See models and history")),
  ].filter(Boolean);
}

function unchanged() {
  return el("p", { class: "quiet" }, "Production is unchanged.");
}

// -- all jobs ---------------------------------------------------------------------------------------------------------

function showJobs() {
  const state = JSON.stringify([jobs, shown?.job.id]);
  if (state === listed) return;
  listed = state;
  const columns = ["Requested", "By", "Duration", "Result", "Log"];
  const rows = jobs.map((job) => ({ cells: jobCells(job), class: job.id === shown?.job.id ? "now" : null }));
  const empty = el("p", { class: "quiet" }, "None yet. Retrainings of this server appear here; those started on the command line do not.");
  at("jobs").replaceChildren(rows.length ? table("Retrainings, latest first", columns, rows) : empty);
}

function jobCells(job) {
  const took = job.started_at && job.ended_at ? duration((new Date(job.ended_at) - new Date(job.started_at)) / 1000) : "–";
  const open = () => {
    show(job, true);
    showJobs();
    at("job-title").focus();
  };
  const label = `Show the log of the retraining of ${new Date(job.created_at).toLocaleString()}`;
  const isShown = job.id === shown?.job.id;
  const button = el("button", { type: "button", class: "small", "aria-label": label, click: open }, "Show");
  return [moment(job.created_at), job.by, took, el("span", {}, badge(job), " ", cameOf(job)), isShown ? "shown above" : button];
}

/** What came of it, in a word, or why nothing did. */
function cameOf(job) {
  if (job.state !== "succeeded") return job.reason ?? "";
  return { promote: "promoted", hold: "held", "insufficient evidence": "not enough evidence" }[job.outcome] ?? "without a decision";
}

// -- changes ----------------------------------------------------------------------------------------------------------

async function start() {
  const waits = jobs.some((one) => one.state === "running");
  const job = await confirm({
    heading: "Start a retraining?",
    happens: [
      waits ? "It waits until the running one has ended." : "It trains on all training images and on the labelled inspections.",
      "It takes minutes to hours, at lower priority. Inspection continues.",
      "If the new model passes the gate, it is promoted automatically. You can roll back later.",
    ],
    button: "Start it",
    doing: "Asking the server …",
    kind: "primary",
    asksReason: false,
    run: () => post("/retrain", undefined, { Prefer: "respond-async" }),
  });
  if (!job) return;
  if (!waits) show(job);
  await look();
  at("job-title").focus();
}

async function cancel() {
  const { job } = shown;
  const cancelled = await confirm({
    heading: "Cancel this retraining?",
    happens: ["Its processes are ended.", "Its results so far are lost. Production does not change."],
    button: "Cancel the retraining",
    doing: "Asking the server …",
    asksReason: false,
    run: () => post(`/jobs/${job.id}/cancel`),
  });
  if (!cancelled) return;
  jobs = jobs.map((one) => (one.id === cancelled.id ? cancelled : one));
  refresh();
  showJobs();
  at("job-title").focus();
  await look();
}
