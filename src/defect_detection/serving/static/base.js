// What every page has: the dialog for the access key.
import { askForKey } from "./api.js";

document.getElementById("key-open").addEventListener("click", () => askForKey());
