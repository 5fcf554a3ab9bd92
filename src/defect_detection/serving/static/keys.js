// Single keys as commands; never while someone types, never with Ctrl, Alt or Cmd, and not at all when they are switched off:
// speech input and unsteady hands press keys that nobody meant (WCAG 2.1.4).

const KEPT = "defect-detection-keys"; // "off" on this device, or nothing
const box = document.getElementById("keys");

/** Call `commands[key]` when that key is pressed: {"o": …, "ArrowRight": …}. */
export function onKeys(commands) {
  box.checked = localStorage.getItem(KEPT) !== "off";
  box.addEventListener("change", change);
  showHints();
  document.addEventListener("keydown", (event) => {
    if (!box.checked || event.ctrlKey || event.altKey || event.metaKey || event.repeat || isTyping(event)) return;
    const command = commands[event.key] ?? commands[event.key.toLowerCase()];
    if (!command) return;
    event.preventDefault();
    command();
  });
}

/** Call `command` when Enter is pressed in a field that is not empty. */
export function onEnter(field, command) {
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing || event.repeat || !field.value.trim()) return;
    event.preventDefault();
    command();
  });
}

function change() {
  if (box.checked) localStorage.removeItem(KEPT);
  else localStorage.setItem(KEPT, "off");
  showHints();
}

/** What says which key does what is there only while keys do it. */
function showHints() {
  document.body.classList.toggle("keyless", !box.checked);
}

function isTyping({ target, key }) {
  if (document.querySelector("dialog[open]") || target.matches("textarea, select")) return true;
  if (target.matches("input[type=range], .zoomed")) return key.startsWith("Arrow"); // they move it
  return target.matches("input:not([type=checkbox])");
}
