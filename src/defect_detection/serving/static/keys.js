// Single keys as commands; never while someone types, and never with Ctrl, Alt or Cmd.

/** Call `commands[key]` when that key is pressed: {"o": …, "ArrowRight": …}. */
export function onKeys(commands) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.repeat || isTyping(event)) return;
    const command = commands[event.key] ?? commands[event.key.toLowerCase()];
    if (!command) return;
    event.preventDefault();
    command();
  });
}

function isTyping({ target, key }) {
  if (document.querySelector("dialog[open]") || target.matches("textarea, select")) return true;
  if (target.matches("input[type=range]")) return key.startsWith("Arrow");
  return target.matches("input");
}
