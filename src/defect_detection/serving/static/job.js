// One training of the page Train: its facts, its steps and its log, as they come.
import { duration, el, moment } from "./dom.js";
import { follow } from "./stream.js";

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
const STREAM = { follows: "", lost: "The server does not respond; trying again …", waits: "Too many browsers follow logs at the moment; trying again …" };
const at = (id) => document.getElementById(id);

export function hasEnded(job) {
  return job.ended_at !== null;
}

export function badge(job) {
  return el("span", { class: `badge ${job.state}` }, isCancelling(job) ? "is being cancelled" : STATES[job.state]);
}

/** Whether it was cancelled, and what it started has not ended yet. */
export function isCancelling(job) {
  return job.state === "running" && job.cancel_requested;
}

/** Shows a job and follows its log. `onMessage(shown)` is called after each message, `onEnd()` when the log has ended. */
export class JobView {
  #following = new AbortController();

  constructor(onMessage, onEnd) {
    Object.assign(this, { onMessage, onEnd, shown: null });
    setInterval(() => this.showFacts(), 1_000);
  }

  /** `isChosen`: by the reader, so that a new one doesn't take its place. */
  show(job, isChosen = false) {
    this.#following.abort();
    this.#following = new AbortController();
    const mine = (this.shown = { job, messages: [], isChosen, isRead: false });
    at("log").replaceChildren();
    at("log-state").textContent = "";
    at("job").hidden = false;
    this.refresh(job);
    follow(job.log, {
      signal: this.#following.signal,
      onEvent: (event) => mine === this.shown && this.#received(event),
      onState: (state) => mine === this.shown && (at("log-state").textContent = STREAM[state]),
    }).catch((error) => mine === this.shown && (at("log-state").textContent = error.message));
  }

  refresh(job) {
    this.shown.job = job;
    at("job-title").replaceChildren(this.#title(job), " ", badge(job));
    this.showFacts();
    this.#showSteps();
  }

  #title(job) {
    if (this.shown.isChosen) return "Training";
    return hasEnded(job) ? "Latest training" : "This training ";
  }

  #received({ event, data }) {
    const { shown } = this;
    if (event === "end") {
      shown.isRead = true;
      at("log-state").textContent = shown.messages.length ? "" : "The log is empty or was deleted.";
      return this.onEnd();
    }
    shown.messages.push(messageOf(data));
    this.#write(shown.messages.at(-1).text);
    this.#showSteps();
    this.onMessage(shown);
  }

  #write(text) {
    const log = at("log");
    const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    log.append(`${text}\n`);
    if (log.childNodes.length > MOST_LINES) log.firstChild.remove();
    if (isAtEnd) log.scrollTop = log.scrollHeight;
  }

  showFacts() {
    if (!this.shown) return;
    const { job } = this.shown;
    const from = new Date(job.started_at ?? job.created_at);
    const soFar = duration((new Date(job.ended_at ?? Date.now()) - from) / 1000);
    const took = { queued: `waits for ${soFar}`, running: `for ${soFar}` }[job.state] ?? `took ${soFar}`;
    if (at("job-facts").dataset.shown === job.id + took) return;
    at("job-facts").dataset.shown = job.id + took;
    at("job-facts").replaceChildren(`Requested by ${job.by}, `, moment(job.created_at), job.start_from === "scratch" ? ", from scratch" : "", `; ${took}`);
  }

  #showSteps() {
    const { job, messages } = this.shown;
    const items = stepsOf(job, messages);
    const text = items.map((item) => item.className + item.textContent).join();
    if (at("steps").dataset.shown === text) return;
    at("steps").dataset.shown = text;
    at("steps").replaceChildren(...items);
  }
}

function stepsOf(job, messages) {
  const reached = Math.max(...messages.map(stepOf), job.state === "queued" ? -1 : 0);
  const latest = messages.findLast((message) => message.step || "done" in message); // progress belongs to the step before it
  const detail = latest && ("done" in latest || latest.step === "training") ? latest.text : "";
  const seen = new Set([0, ...messages.map(stepOf)]);
  return STEPS.map(([, name], i) => {
    const here = { succeeded: "done", running: "now", queued: "now" }[job.state] ?? "stopped";
    const state = i > reached ? "later" : i < reached ? (seen.has(i) ? "done" : "skipped") : here;
    const note = state === "now" && detail ? detail : NOTES[state];
    return el("li", { class: state, "aria-current": state === "now" ? "step" : null }, el("span", { class: "step" }, name), el("span", { class: "quiet" }, note));
  });
}

/** The place of a message's step in `STEPS`; -1: it names none. */
function stepOf(message) {
  return STEPS.findIndex(([step]) => step === message.step);
}

/** A line of the log: what the training tells as JSON, or a text that something else in its process wrote. */
function messageOf(line) {
  try {
    const message = JSON.parse(line);
    if (typeof message?.text === "string") return message;
  } catch {
    // a text
  }
  return { text: line };
}
