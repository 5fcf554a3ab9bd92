// Keep the images and verdicts of Inspect in this browser while the tab is open: another page or a reload loses nothing.

const TAB = "defect-detection-tab"; // in sessionStorage: which tab this is
const STORE = "images";
const KEPT_MS = 24 * 3600e3; // after a tab was closed

let database = null;

/** Return what this tab kept, in order: [{ number, file, result, error, label, type }]. Throws when this browser keeps nothing. */
export async function restore() {
  database = await opened();
  const all = database.transaction(STORE, "readwrite").objectStore(STORE);
  await asked(all.index("at").openCursor(IDBKeyRange.upperBound(Date.now() - KEPT_MS)), (cursor) => cursor.delete());
  return asked(all.getAll(ofThisTab()));
}

/** Keep an item as it is now. Throws when there is no room. */
export async function keep({ number, file, result, error, label, type }) {
  if (!database) return;
  const item = { tab: tab(), at: Date.now(), number, file, result, error, label, type };
  await asked(database.transaction(STORE, "readwrite").objectStore(STORE).put(item));
}

/** Forget all that this tab kept. */
export async function forget() {
  if (database) await asked(database.transaction(STORE, "readwrite").objectStore(STORE).delete(ofThisTab()));
}

function opened() {
  const request = indexedDB.open("defect-detection", 1);
  request.onupgradeneeded = () => {
    const store = request.result.createObjectStore(STORE, { keyPath: ["tab", "number"] });
    store.createIndex("at", "at");
  };
  return asked(request);
}

/** Wait for a request's answer; `each` is called with a cursor at each place. */
function asked(request, each) {
  return new Promise((resolve, reject) => {
    request.onerror = () => reject(request.error);
    request.onsuccess = () => {
      if (!each || !request.result) return resolve(request.result);
      each(request.result);
      request.result.continue();
    };
  });
}

function tab() {
  if (!sessionStorage.getItem(TAB)) sessionStorage.setItem(TAB, String(Math.random()).slice(2));
  const { product } = document.documentElement.dataset; // images of one product are not shown on the page of another
  return sessionStorage.getItem(TAB) + (product && product !== "default" ? `/${product}` : "");
}

function ofThisTab() {
  return IDBKeyRange.bound([tab()], [tab(), []]);
}
