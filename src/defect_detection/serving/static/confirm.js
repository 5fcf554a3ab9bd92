// Ask before something is done that matters: what will happen, and why it is to.
import { el, fill } from "./dom.js";

const dialog = document.getElementById("confirm");
const [title, means, why, reason, problem, busy, go, leave] = ["title", "means", "why", "reason", "problem", "busy", "do", "cancel"].map(
  (part) => document.getElementById(`confirm-${part}`),
);
let running = false;

leave.addEventListener("click", () => dialog.close());
dialog.addEventListener("cancel", (event) => running && event.preventDefault());
reason.addEventListener("input", () => reason.setCustomValidity(""));

/**
 * Show what will happen (texts or elements) and wait for the answer. `run(reason)` does it while the dialog stays open; when that fails, the dialog says
 * why and can be tried again. Resolves to what `run` returned, or to null when it was left.
 */
export function confirm({ heading, happens, doing, button, kind = "danger", asksReason, run }) {
  title.textContent = heading;
  fill(means, happens.filter(Boolean).map((one) => el("li", {}, one)));
  why.hidden = reason.disabled = !asksReason;
  reason.value = "";
  go.textContent = button;
  go.className = kind;
  settle();
  problem.hidden = true;
  dialog.showModal();
  (asksReason ? reason : leave).focus();
  return answer(run, doing);
}

function answer(run, doing) {
  let result = null;
  const form = dialog.querySelector("form");
  const submitted = async (event) => {
    event.preventDefault();
    if (running || !isReasonGiven()) return;
    begin(doing);
    try {
      result = await run(reason.value.trim().replace(/\s+/g, " "));
      settle();
      dialog.close();
    } catch (error) {
      settle();
      problem.textContent = error.message;
      problem.hidden = false;
    }
  };
  form.addEventListener("submit", submitted);
  return new Promise((resolve) => {
    const closed = () => {
      form.removeEventListener("submit", submitted);
      resolve(result);
    };
    dialog.addEventListener("close", closed, { once: true });
  });
}

function isReasonGiven() {
  if (reason.disabled || reason.value.trim()) return true;
  reason.setCustomValidity("Enter a reason. The history records it.");
  reason.reportValidity();
  return false;
}

function begin(doing) {
  running = go.disabled = leave.disabled = true;
  problem.hidden = true;
  busy.textContent = doing;
}

function settle() {
  running = go.disabled = leave.disabled = false;
  busy.textContent = "";
}
