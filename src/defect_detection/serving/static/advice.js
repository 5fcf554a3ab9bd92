// The card of the page Train that reports what the present images and labels can train and measure, and what 20 more labels would change.
import { get } from "./api.js";
import { el, fill, notice, table } from "./dom.js";

/** Ask the server, and show what it says in `place`. */
export async function showAdvice(place) {
  try {
    fill(place, ...parts(await get("/advice")));
  } catch (error) {
    fill(place, notice(error.message, "bad"));
  }
}

function parts(said) {
  const { now, with_more: then } = said;
  const columns = ["Figure", "Today", `With ${said.more} more defective parts`];
  const rows = [
    ["State", now.state, then.state],
    ["OK parts for training", now.train_ok, then.train_ok],
    ["Defective parts for training", now.train_defective, then.train_defective],
    ["Escapes up to, by training parts", percent(now.validation_escape_up_to), percent(then.validation_escape_up_to)],
    ["Overkill up to, by training parts", percent(now.validation_overkill_up_to), percent(then.validation_overkill_up_to)],
    ["Defective test parts", now.test_defective, now.test_defective + said.more],
    ["Escapes up to, by test parts", percent(now.test_escape_up_to), percent(said.test_escape_up_to_with_more)],
  ];
  const waits = said.labels_new ? ` Today's parts include ${said.labels_new} new labels.` : "";
  return [
    el("p", {}, now.state_text + waits),
    el("p", {}, el("strong", {}, "Next: "), `${step(said.command)}. ${said.why}`),
    table("What the parts support", columns, rows.map((cells) => ({ cells: cells.map(String) }))),
    el("p", { class: "quiet" }, "Up to: the highest rate that is still possible if the model makes no mistake on these parts. In the last two rows, the additional parts are test parts."),
    said.notes.length ? el("ul", { class: "reasons" }, said.notes.map((note) => el("li", {}, note))) : null,
  ];
}

/** What a command is called on the page. */
function step(command) {
  if (/^defect (train|evaluate|retrain)\b/.test(command)) return "start a training";
  if (/^defect promote\b/.test(command)) return "promote the new model";
  return /^defect data\b/.test(command) ? "add images" : "review inspections";
}

function percent(rate) {
  if (rate === 1) return "unknown";
  return `${Number((100 * rate).toPrecision(2))} %`;
}
