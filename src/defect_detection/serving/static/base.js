// What every page has: the dialog for the access key.
import { askForKey } from "./api.js";
import { prepareChoice } from "./product.js";

document.getElementById("key-open").addEventListener("click", () => askForKey());
prepareChoice();
