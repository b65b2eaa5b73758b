// Keys that work on every page, the dialog that lists them, and moments in the reader's own words. Other scripts add
// keys of their own by listening to the event `backlab:key` on the document.

const dialog = document.getElementById("keys");
const button = document.getElementById("keys-button");
const inForce = document.getElementById("keys-on");
const OFF = "backlab.keys-off";

button.hidden = false;
button.addEventListener("click", () => dialog.showModal());
inForce.checked = localStorage.getItem(OFF) === null;
inForce.addEventListener("change", () => {
  if (inForce.checked) localStorage.removeItem(OFF);
  else localStorage.setItem(OFF, "1");
});

let before = "";

document.addEventListener("keydown", (event) => {
  if (!inForce.checked && event.key !== "?") return;
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || dialog.open) return;
  if (event.target.closest("input:not([type=radio]):not([type=checkbox]), select, textarea, [contenteditable]")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const key = before + event.key;
  before = event.key === "g" ? "g" : "";
  if (press(key)) event.preventDefault();
  else event.target.dispatchEvent(new CustomEvent("backlab:key", { bubbles: true, detail: { key, event } }));
});

function press(key) {
  const search = document.getElementById("q");
  if (key === "?") dialog.showModal();
  else if (key === "gh") location.href = "/";
  else if (key === "gd") location.href = "/doctor";
  else if (key === "/" && search) search.select(), search.focus();
  else if (key === "/") location.href = "/#q";
  else return false;
  return true;
}

if (location.hash === "#q") document.getElementById("q")?.focus();
document.querySelector("header [data-key='/']")?.addEventListener("click", (event) => {
  if (press("/")) event.preventDefault();
});

function tell() {
  const words = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  for (const time of document.querySelectorAll("time[datetime]")) {
    time.textContent = words.format(new Date(time.dateTime));
  }
}
tell();
document.addEventListener("backlab:fresh", tell);
