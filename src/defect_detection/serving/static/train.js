// The page Train: start a training, follow it, cancel it, and see what came of it.
import { showAdvice } from "./advice.js";
import { get, post } from "./api.js";
import { confirm } from "./confirm.js";
import { duration, el, fill, moment, notice, range, table } from "./dom.js";
import { badge, hasEnded, isCancelling, JobView } from "./job.js";
import { poll } from "./poll.js";
import { here } from "./product.js";
import { showResult } from "./result.js";
import { rights, showReason, unseen } from "./rights.js";

const LOOK_EVERY_MS = 5_000;
const at = (id) => document.getElementById(id);

let may = { role: null, reason: "" };
let jobs = [];
let listed = "";
let asked = ""; // what the advice and the estimate on the page depend on: the role, and the trainings that have ended
let expected = null; // how long a training takes
const view = new JobView(showOutcome, look);

at("start").addEventListener("click", start);
at("from").addEventListener("change", () => (at("from").dataset.isChosen = "yes"));
at("cancel").addEventListener("click", cancel);
addEventListener("pageshow", (event) => event.persisted && look()); // the browser's back button
addEventListener("promoted", () => {
  asked = ""; // the advice said to promote it
  look();
});
await poll(look, LOOK_EVERY_MS);

async function look() {
  may = await rights(may);
  showReason(at("why-not"), may, look);
  if (may.role) await lookForJobs();
  else at("jobs").replaceChildren(unseen(may));
  await askOnce();
  const waiting = jobs.some((one) => one.state === "queued");
  at("start").disabled = may.role !== "admin" || waiting || expected?.low_s == null;
  at("start").title = waiting ? "A training is already waiting" : "";
}

/** Ask for the estimate and the advice when the page opens and after each training: the server reads all images for it. */
async function askOnce() {
  const state = `${may.role} ${may.reason} ${jobs.filter(hasEnded).length}`;
  if (state === asked) return;
  asked = state;
  if (!may.role) return at("advice").replaceChildren(unseen(may));
  try {
    expected = await get("/training");
    fill(at("estimate"), estimateInWords());
  } catch (error) {
    asked = ""; // ask again at the next look
    return fill(at("estimate"), `The time of a training cannot be estimated: ${error.message}`);
  }
  at("start-from").hidden = expected.low_s == null || may.role !== "admin";
  if (expected.start_from && !at("from").dataset.isChosen) at("from").value = expected.start_from;
  if (expected?.low_s == null) at("advice").replaceChildren(el("p", { class: "quiet" }, "This needs training images and test images."));
  else showAdvice(at("advice"));
}

function estimateInWords() {
  const { train_images: train, test_images: test, low_s: low, high_s: high, basis } = expected;
  const data = (what) => [" ", el("a", { href: here("/page/data") }, what), "."];
  if (!train) return ["There are no training images yet. Training needs at least 2 OK parts.", ...data("Add images")];
  if (!test) return ["There are no test images yet. They are needed to measure how good a model is.", ...data("Choose a test split")];
  return `A training takes about ${range(low, high)}. It reads ${train} training images and ${test} test images. The estimate is based on ${basis}.`;
}

async function lookForJobs() {
  try {
    ({ jobs } = await get("/jobs?limit=50"));
    say();
  } catch (error) {
    return say(notice(error.message, "bad"));
  }
  const { shown } = view;
  const active = jobs.find((one) => one.state === "running") ?? jobs.find((one) => one.state === "queued");
  if (!shown && jobs.length) view.show(active ?? jobs[0]);
  else if (active && shown && hasEnded(shown.job) && !shown.isChosen) view.show(active);
  refresh();
  showJobs();
}

function refresh() {
  const now = jobs.find((one) => one.id === view.shown?.job.id);
  if (!now) return;
  view.refresh(now);
  at("cancel").hidden = hasEnded(now) || isCancelling(now);
  at("cancel").disabled = may.role !== "admin";
  showOutcome(view.shown);
}

function showOutcome(shown) {
  if (shown.job.state === "queued" && shown.messages.length === 1) look();
  showResult(at("outcome"), shown, may);
}

function say(...notices) {
  if (notices.length || at("notices").childElementCount) at("notices").replaceChildren(...notices);
}

// -- all jobs ---------------------------------------------------------------------------------------------------------

function showJobs() {
  const state = JSON.stringify([jobs, view.shown?.job.id]);
  if (state === listed) return;
  listed = state;
  const columns = ["Requested", "By", "Duration", "Result", "Log"];
  const rows = jobs.map((job) => ({ cells: jobCells(job), class: job.id === view.shown?.job.id ? "now" : null }));
  const empty = el("p", { class: "quiet" }, "None yet. Trainings of this server appear here; those started on the command line do not.");
  at("jobs").replaceChildren(rows.length ? table("Trainings, latest first", columns, rows) : empty);
}

function jobCells(job) {
  const took = job.started_at && job.ended_at ? duration((new Date(job.ended_at) - new Date(job.started_at)) / 1000) : "–";
  const open = () => {
    view.show(job, true);
    refresh();
    showJobs();
    at("job-title").focus();
  };
  const label = `Show the training of ${new Date(job.created_at).toLocaleString()}`;
  const isShown = job.id === view.shown?.job.id;
  const button = el("button", { type: "button", class: "small", "aria-label": label, click: open }, "Show");
  return [moment(job.created_at), job.by, took, el("span", {}, badge(job), " ", cameOf(job)), isShown ? "shown above" : button];
}

/** What came of it, in a word, or why nothing did. */
function cameOf(job) {
  if (job.state !== "succeeded") return job.reason ?? "";
  return { promote: "promoted", passed: "passed the gate", hold: "held", "insufficient evidence": "not enough evidence" }[job.outcome] ?? "without a decision";
}

// -- changes ----------------------------------------------------------------------------------------------------------

async function start() {
  const waits = jobs.some((one) => one.state === "running");
  const from = at("from").value;
  const chosen = at("from").dataset.isChosen ? `&start_from=${from}` : ""; // a script of the user's own may know no such choice
  const job = await confirm({
    heading: "Start a training?",
    happens: [
      "It trains on all training images and on the labelled inspections.",
      from === "scratch"
        ? "It starts from scratch, with the settings of this product. This can take longer than a training that continues from the model in production."
        : "It continues from the registered model, and keeps the hyperparameters, image size and region of that model. Without a model, it starts from scratch.",
      `It takes about ${range(expected.low_s, expected.high_s)}, at lower priority. Inspection continues.`,
      waits ? "It waits until the running one has ended." : "Other trainings wait until this one has ended.",
      "Production does not change. If the model passes the gate, you can promote it.",
    ],
    button: "Start it",
    doing: "Asking the server …",
    kind: "primary",
    asksReason: false,
    run: () => post(`/retrain?promote=false${chosen}`, undefined, { Prefer: "respond-async" }),
  });
  if (!job) return;
  if (!waits) view.show(job);
  await look();
  at("job-title").focus();
}

async function cancel() {
  const { job } = view.shown;
  const cancelled = await confirm({
    heading: "Cancel this training?",
    happens: ["Its processes are ended.", "Its results so far are lost. Production does not change."],
    button: "Cancel the training",
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
