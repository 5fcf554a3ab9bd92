// The start page: all products with their state, reject rate and what waits for review.
import { get, post } from "./api.js";
import { el, fill } from "./dom.js";
import { poll } from "./poll.js";
import { addressOf, nameOf } from "./product.js";
import { percent } from "./verdict.js";

const $ = (id) => document.getElementById(id);
const REFRESH_MS = 15000;
const STATES = {
  serving: ["good", "Inspects"], ready: ["", "Loads on first use"], "no model": ["", "No model yet"], failing: ["bad", "Needs attention"], archived: ["", "Archived"],
};

async function refresh() {
  try {
    const { products } = await get("/products");
    fill($("list"), products.map(card));
    $("problem").hidden = true;
  } catch (error) {
    $("problem").textContent = error.message;
    $("problem").hidden = false;
  }
  $("loading").hidden = true;
}

function card(one) {
  const [kind, word] = STATES[one.state];
  const title = nameOf(one.name);
  const isOpen = one.state !== "archived";
  return el("li", { class: "card product-card" },
    el("h2", {}, isOpen ? el("a", { href: addressOf(one.name, "/") }, title) : title),
    el("p", {}, el("span", { class: `badge ${kind}` }, word), one.version ? ` version ${one.version}` : null),
    one.problem && el("p", { class: "quiet" }, one.problem),
    el("dl", { class: "facts" },
      el("dt", {}, "Reject rate, 24 hours"), el("dd", {}, one.inspected ? `${percent(one.reject_rate)} (${one.defective} of ${one.inspected})` : "no inspections"),
      el("dt", {}, "Waits for review"), el("dd", {}, one.waiting.toLocaleString()),
    ),
    el("p", { class: "buttons" }, isOpen ? links(one, title) : link(one, "/page/inspections", "Inspections", title)),
  );
}

function links(one, title) {
  return [link(one, "/", "Inspect", title), link(one, "/page/data", "Data", title), link(one, "/page/train", "Train", title), link(one, "/page/review", "Review", title), link(one, "/page/monitor", "Monitor", title)];
}

function link(one, page, text, title) {
  return el("a", { class: "button", href: addressOf(one.name, page), "aria-label": `${text}: ${title}` }, text);
}

/** Create a product, and go on to its images. */
async function create(event) {
  event.preventDefault();
  $("create").disabled = true;
  $("new-problem").hidden = true;
  try {
    const { name } = await post("/products", { name: $("name").value.trim() });
    location.href = addressOf(name, "/page/data");
  } catch (error) {
    $("new-problem").textContent = error.message;
    $("new-problem").hidden = false;
  }
  $("create").disabled = false;
}

$("new").addEventListener("submit", create);
poll(refresh, REFRESH_MS);
