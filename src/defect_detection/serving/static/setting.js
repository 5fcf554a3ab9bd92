// One setting of the page Settings: its label, its help text and the field for its value.
import { coded, el } from "./dom.js";

/** Make the field of a key; `isDisabled`: the caller may only read. */
export function fieldOf(one, section, isDisabled) {
  const id = `key-${one.key}`;
  const input = inputOf(one, { id, disabled: isDisabled, "aria-describedby": `${id}-help ${id}-wrong` });
  const wrong = el("p", { class: "wrong", id: `${id}-wrong`, role: "alert", hidden: true });
  const name = one.key.slice(section ? section.length + 1 : 0);
  const about = el("div", { class: "about" }, el("label", { for: id }, name), el("p", { class: "quiet", id: `${id}-help` }, coded(helpOf(one))));
  const element = el("div", { class: "setting" }, about, el("div", { class: "entry" }, input, wrong, remarkOf(one)));
  const field = {
    key: one.key,
    element,
    input,
    isAdvanced: one.advanced,
    text: `${one.key} ${one.help}`.toLowerCase(),
    before: one.value,
    get value() {
      return one.kind === "yes or no" ? input.value === "true" : input.value;
    },
    get isChanged() {
      return field.value !== one.value;
    },
    enter(value) {
      input.value = String(value);
      mark();
    },
    reset() {
      field.enter(one.value);
      field.say("");
    },
    /** Say what is wrong with the value; "" takes it away. */
    say(text) {
      wrong.textContent = text;
      wrong.hidden = !text;
      input.setAttribute("aria-invalid", Boolean(text));
      return Boolean(text);
    },
  };
  const mark = () => element.classList.toggle("changed", field.isChanged);
  input.addEventListener("input", mark);
  return field;
}

function inputOf({ kind, choices, value }, attributes) {
  const options = { "yes or no": [["true", "yes"], ["false", "no"]], choice: choices.map((choice) => [choice, choice]) }[kind];
  if (options) return el("select", attributes, options.map(([key, word]) => el("option", { value: key, selected: key === String(value) }, word)));
  if (kind === "yaml" && (value.includes("\n") || value.length > 60)) {
    const area = el("textarea", { ...attributes, rows: Math.min(12, value.split("\n").length + 1), spellcheck: "false" });
    area.value = value;
    return area;
  }
  return el("input", { ...attributes, value, type: "text", inputmode: kind === "number" ? "decimal" : null, autocomplete: "off", spellcheck: "false" });
}

function helpOf({ help, expected }) {
  const text = help ? help[0].toUpperCase() + help.slice(1) : "";
  return expected ? `${text} Expected: ${expected}.` : text;
}

function remarkOf({ default: usual, kind, value, overridden }) {
  const word = { true: "yes", false: "no" }[usual] ?? (usual === "" ? "empty" : usual);
  const isUsual = usual === value;
  return el("p", { class: "quiet" }, [
    kind === "yaml" && word.includes("\n") ? null : isUsual ? "This is the default." : `Default: ${word}.`,
    overridden ? " The server was started with another value, which it uses." : null,
  ]);
}
