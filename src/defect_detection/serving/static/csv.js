// Write a table as CSV (RFC 4180) and give it to the browser as a download.

/** Save rows under a name; the first row names the columns. */
export function saveCsv(name, rows) {
  const text = rows.map((row) => row.map(cell).join(",")).join("\r\n");
  const url = URL.createObjectURL(new Blob(["\ufeff", text, "\r\n"], { type: "text/csv" })); // the mark tells a spreadsheet that it is UTF-8
  saveUrl(name, url);
}

/** Save what an address of this page holds. */
export function saveUrl(name, url) {
  Object.assign(document.createElement("a"), { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** A text that a spreadsheet would take for a formula is marked by an apostrophe, as the server does: a file name may be anything. */
function cell(value) {
  const text = String(value ?? "");
  const safe = typeof value === "string" && /^'*[=+\-@\t\r\uff0b\uff0d\uff1d\uff20]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
