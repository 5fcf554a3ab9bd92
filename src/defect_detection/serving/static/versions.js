// The table of versions on the page Models.
import { decisionOn, figuresOf, outcomeWord, reportLink } from "./decision.js";
import { el, moment, table } from "./dom.js";

const COLUMNS = ["Version", "Registered", "Accuracy", "Escapes", "Overkill", "Gate", "Change"];

/** Make the table; `promote(version)` is called by its buttons. */
export function versionsTable(known, promote) {
  const rows = known.models.versions.map((one) => ({ cells: cells(one, known, promote), class: isInProduction(one, known) ? "now" : null }));
  if (!rows.length) return el("p", { class: "quiet" }, "No version is registered yet: run a training and an evaluation.");
  return table("Versions of the registered models, newest first", COLUMNS, rows);
}

export function isInProduction(one, { history }) {
  return one.name === history?.name ? one.version === history.in_production : one.aliases.includes("prod");
}

function cells(one, known, promote) {
  const name = el("span", { class: "name" }, `${one.name} ${one.version}`);
  const badges = one.aliases.map((alias) => el("span", { class: "badge" }, alias === "prod" ? "in production" : alias));
  const { accuracy, escapes, overkill } = figuresOf(one);
  return [[name, " ", ...badges], moment(one.created), accuracy, escapes, overkill, gateSaid(one, known), change(one, known, promote)].map((cell) => cell ?? "–");
}

function gateSaid(one, { history }) {
  const decision = decisionOn(one, history);
  if (!decision) return null;
  const stays = decision.outcome === "promote" ? "" : ": registered, not in production";
  const link = decision.report && reportLink(decision.report, `Report on ${one.name} ${one.version}`);
  return [`${outcomeWord(decision.outcome)}${stays}`, ...(link ? [" · ", link] : [])];
}

function change(one, known, promote) {
  if (!known.history) return null;
  if (isInProduction(one, known)) return "decides now";
  const disabled = known.may.role !== "admin";
  const label = `Promote ${one.name} ${one.version}`;
  return el("button", { type: "button", disabled, "aria-describedby": "why-not", "aria-label": label, click: () => promote(one) }, "Promote");
}
