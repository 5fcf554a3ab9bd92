// The product of this page: it is part of the address, chosen in the header, and sent with each request.
import { address, keyHeaders } from "./api.js";
import { el } from "./dom.js";

const DEFAULT = "default";
const ALL = ""; // no product is named so
const { product = "", page = "" } = document.documentElement.dataset;

/** Return how a product is named on the page. */
export function nameOf(name) {
  return name === DEFAULT ? "Default product" : name;
}

/** Return the address of a page about a product: of "/", or "/page/review". */
export function addressOf(name, path) {
  return address(name === DEFAULT ? path : `/product/${name}${path}`);
}

/** Return the address of a page about the product of this page. */
export function here(path) {
  return addressOf(product || DEFAULT, path);
}

/** Fill the field in the header, if there is more than one product and this caller may know them. Never asks for a key. */
export async function prepareChoice() {
  const response = await fetch(address("/products"), { headers: { ...keyHeaders(), "X-Product": DEFAULT } }).catch(() => null);
  if (!response?.ok) return;
  const { products } = await response.json();
  const names = products.filter(({ state }) => state !== "archived").map(({ name }) => name);
  const isAll = page === "/page/products";
  if (names.length < 2 && !(product && !names.includes(product))) return;
  const known = isAll || names.includes(product) ? names : [product, ...names];
  const choice = document.getElementById("product");
  choice.replaceChildren(
    el("option", { value: ALL, selected: isAll }, "All products"),
    ...known.map((name) => el("option", { value: name, selected: !isAll && name === product }, nameOf(name))),
  );
  choice.addEventListener("change", () => {
    location.href = choice.value === ALL ? address("/page/products") : addressOf(choice.value, isAll ? "/" : page || "/");
  });
  addEventListener("pageshow", () => (choice.value = isAll ? ALL : product)); // the browser's back button restores what was chosen
  document.getElementById("product-place").hidden = false;
}
