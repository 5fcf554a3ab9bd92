// The history on the page Models: what was in production when, by whom and why.
import { figuresOf, outcomeWord, reportLink } from "./decision.js";
import { brief, el, moment, table } from "./dom.js";

const COLUMNS = ["When", "Production", "How", "Who", "Accuracy", "Escapes", "Overkill", "Why", "Report"];

/** Make the table, and a line where there is more; `movesOnly` leaves out what left production as it was. */
export function historyTable({ history, models, may }, movesOnly) {
  if (!history) return [el("p", { class: "quiet" }, may.reason || "The server has not reported the history.")];
  const entries = history.entries.filter((one) => !movesOnly || one.after !== null);
  const rows = entries.map((one) => ({ cells: cells(one, candidateOf(one, history, models)) }));
  const left = history.total - history.entries.length;
  return [
    rows.length ? table("Changes of production: when, who and why", COLUMNS, rows) : el("p", { class: "quiet" }, "No decisions yet."),
    left > 0 ? el("p", { class: "quiet" }, `The latest ${history.entries.length} of ${history.total}; defect history --all shows all.`) : null,
  ];
}

/** The registered version that an entry is about, where it is among the newest. */
function candidateOf({ candidate_run_id: run, after }, { name }, models) {
  const isIt = (one) => (run && one.run_id ? one.run_id === run : one.name === name && one.version === after);
  return models?.versions.find(isIt);
}

function cells(one, candidate) {
  return [
    moment(one.when),
    step(one),
    how(one, candidate),
    one.who,
    one.accuracy || "–",
    one.escapes || "–",
    figuresOf(candidate).overkill ?? "–",
    brief(one.why),
    one.report ? reportLink(one.report, `Report of the decision on ${one.candidate}`) : "–",
  ];
}

function how(one, candidate) {
  const unfinished = one.state === "done" ? "" : ` (${one.state})`;
  if (one.kind !== "evaluation" || one.after !== null) return `${one.kind}${unfinished}`;
  const registered = candidate ? `; registered as ${candidate.name} ${candidate.version}, not in production` : "";
  return `${one.kind}${unfinished}: ${outcomeWord(one.outcome)}${registered}`;
}

function step({ before, after }) {
  if (after === null) return before === null ? "stays empty" : `${before} stays`;
  return before === null ? `first: ${after}` : `${before} → ${after}`;
}
