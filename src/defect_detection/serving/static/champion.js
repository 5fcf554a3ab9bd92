// What decides now, on the page Models.
import { figuresOf } from "./decision.js";
import { el, facts, moment, notice } from "./dom.js";
import { here } from "./product.js";

/** What the panel holds below its title; `rollBack(version)` is called by its button. */
export function championOf({ models, history, may }, rollBack) {
  if (!models) return [el("p", { class: "quiet" }, "The server has not reported the model in production.")];
  if (!models.champion) return nothing(models);
  const decides = models.champion;
  const version = models.versions.find((one) => one.name === decides.name && one.version === decides.version);
  const since = history?.entries.find((one) => one.after === decides.version && one.state === "done");
  return [
    el("p", { class: "big" }, `${decides.name} ${decides.version}`),
    el("div", { class: "figures" }, figures(decides, version)),
    version?.tags.evidence_remark ? notice(version.tags.evidence_remark) : null,
    factsOf(decides, since),
    wayBack(history, may, rollBack),
  ];
}

function nothing({ problem, versions }) {
  const isPromoted = versions.some(({ aliases }) => aliases.includes("prod")); // and is just being loaded, or can't be
  const [newest] = versions;
  const registered = newest && `${newest.name} ${newest.version} is registered, but not in production. Promote it below, or train a model.`;
  const retrain = [el("a", { href: here("/page/train") }, "Train a model"), " when there are training images."];
  return [
    el("p", { class: "big" }, "No model yet"),
    el("p", {}, problem || "The model is being loaded."),
    isPromoted ? null : el("p", {}, registered ?? retrain),
  ];
}

function figures(decides, version) {
  const test = figuresOf(version);
  const auroc = decides.validation.auroc ?? decides.validation.val_auroc;
  const named = [
    ["Accuracy on test images", test.accuracy],
    ["Escapes: defective parts passed", test.escapes],
    ["Overkill: OK parts rejected", test.overkill],
    ["AUROC on validation", auroc === undefined ? null : auroc.toFixed(4)],
  ];
  return named
    .filter(([, value]) => value)
    .map(([name, value]) => el("div", { class: "figure" }, el("p", { class: "quiet" }, name), el("p", { class: "value" }, value)));
}

function factsOf(decides, since) {
  const band = decides.review_low == null ? null : `${decides.review_low.toFixed(3)} to ${decides.review_high.toFixed(3)}`;
  return facts([
    ["Decides since", since ? [moment(since.when), `, by ${since.who}`] : null],
    ["Trained", moment(decides.created)],
    ["Score", decides.score_is === "anomaly" ? "anomaly score: how much an image differs from OK parts. It is not the probability of a defect" : null],
    ["Threshold", `${decides.threshold.toFixed(3)} (${decides.threshold_rule})`],
    ["Review band", band && `scores from ${band}`],
    ["Sees", `${decides.image_size} × ${decides.image_size} px`],
    ["Defect types", decides.defect_types.join(", ")],
  ]);
}

function wayBack(history, may, rollBack) {
  if (!history || history.in_production === null) return null;
  const to = history.rollback_to;
  if (to === null) return el("p", { class: "quiet" }, whyNoWayBack(history));
  const attributes = { type: "button", class: "danger", disabled: may.role !== "admin", "aria-describedby": "why-not", click: () => rollBack(to) };
  return el("div", { class: "buttons" }, el("button", attributes, `Roll back to version ${to}`));
}

/** A rollback takes away what it left, so that the next one doesn't return to it. */
function whyNoWayBack({ entries, in_production: now }) {
  const last = entries.find((one) => one.state === "done" && one.after !== null);
  if (last?.kind === "rollback" && last.after === now)
    return `Production was rolled back to version ${now}, the earliest in the history. Version ${last.before} was withdrawn, so a rollback cannot return to it. To change the model, promote a version below.`;
  return `Version ${now} is the first in the history, so there is nothing to roll back to.`;
}
