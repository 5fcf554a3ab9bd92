// Ask a server again and again, without ever asking twice at a time.

/** Call `look` now and then every `ms`: not before the last call has ended, and not while the page is hidden or a dialog is open. */
export function poll(look, ms) {
  let asking = false;
  const turn = async () => {
    asking = true;
    await look().finally(() => (asking = false));
  };
  setInterval(() => asking || document.hidden || document.querySelector("dialog[open]") || turn(), ms);
  return turn();
}
