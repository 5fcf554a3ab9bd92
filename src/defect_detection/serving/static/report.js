// A report inside a page. It is fetched with the key of this tab, which a frame could not send, and shown apart from the page's own styles.
import { send } from "./api.js";
import { el, notice } from "./dom.js";

/** Make a fold that loads the report when it is opened. */
export function reportFold(path, label) {
  const place = el("div", { class: "report" }, el("p", { class: "quiet" }, "Loading the report …"));
  const load = async (event) => {
    if (!event.target.open || place.shadowRoot) return;
    try {
      show(place, parsed(await (await send(path)).text()));
    } catch (error) {
      place.replaceChildren(notice(error.message, "bad"));
    }
  };
  return el("details", { toggle: load }, el("summary", {}, label), place);
}

/** Parse a report, with its styles as data: the page's policy takes none from a document. */
function parsed(html) {
  const inert = html.replaceAll(/<(\/?)style\b[^>]*>/g, "<$1template>").replaceAll(/(<[^>]*?) style="/g, '$1 data-style="');
  return new DOMParser().parseFromString(inert, "text/html");
}

function show(place, report) {
  const styles = [...report.querySelectorAll("template")].map((one) => (one.content ?? one).textContent).join("\n");
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(styles.replaceAll(":root", ":host").replaceAll(/^( *)body \{/gm, "$1.body {"));
  for (const one of report.querySelectorAll("script, template")) one.remove();
  for (const image of report.querySelectorAll("img")) image.src = withoutData(image.getAttribute("src"));
  place.attachShadow({ mode: "open" }).adoptedStyleSheets = [sheet];
  const content = report.querySelector("main") ?? report.body; // the page has its own <main>
  place.shadowRoot.append(el("div", { class: "body" }, [...content.childNodes]));
  for (const one of place.shadowRoot.querySelectorAll("[data-style]")) one.style.cssText = one.dataset.style;
}

/** Return an address of the same image that the page's policy allows. */
function withoutData(address) {
  const [, type, content] = address.match(/^data:(image\/[a-z]+);base64,(.*)$/s) ?? [];
  if (!type) return address;
  return URL.createObjectURL(new Blob([Uint8Array.from(atob(content), (one) => one.charCodeAt(0))], { type }));
}
