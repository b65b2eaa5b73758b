// The list: filters and search at once, without a new page, and movement by keys. The address always says what is
// shown, and the server shows the same for it.

const rows = [...document.querySelectorAll(".questions tbody tr")];
const search = document.getElementById("q");
const form = search.form;
const shown = document.getElementById("shown");
const links = [...document.querySelectorAll("[data-filter]")];
const filter = Object.fromEntries(new FormData(form));

// As Page::matches has it: each word is in what one sees of a question, or is its slug.
const texts = new Map(rows.map((row) => [row, text(row).toLowerCase()]));

function text(row) {
  return [".n", ".title", ".asked"].map((part) => row.querySelector(part).textContent).concat(row.dataset.find).join(" ");
}

function show() {
  const words = filter.q.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const row of rows) {
    const has = (word) => texts.get(row).includes(word) || word === row.dataset.slug;
    const fits = ["track", "level", "status", "runs", "build"].every((it) => !filter[it] || filter[it] === row.dataset[it]);
    row.hidden = !(fits && words.every(has));
    if (!row.hidden) count += 1;
  }
  for (const link of links) {
    if ((filter[link.dataset.filter] ?? "") === link.dataset.value) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  shown.textContent = count < rows.length ? `${count} of ${rows.length} shown · ` : "";
  if (count < rows.length) {
    const all = document.createElement("a");
    all.href = "/";
    all.textContent = "show all";
    shown.append(all);
  }
  const query = new URLSearchParams(Object.entries(filter).filter(([, value]) => value));
  history.replaceState(null, "", query.size ? `?${query}` : location.pathname);
}

search.addEventListener("input", () => {
  filter.q = search.value;
  show();
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  visible()[0]?.querySelector("summary").focus();
});
document.addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
  const link = event.target.closest("[data-filter]");
  if (link) {
    const { filter: name, value } = link.dataset;
    filter[name] = filter[name] === value && value ? "" : value;
  } else if (event.target.closest("#shown a")) {
    for (const name of Object.keys(filter)) filter[name] = "";
    search.value = "";
  } else {
    return press(event);
  }
  event.preventDefault();
  for (const input of form.querySelectorAll("[type=hidden]")) input.value = filter[input.name];
  show();
});

// A row opens anywhere: first to the question, then to its short answer, then it closes.
function press(event) {
  const row = event.target.closest(".questions tbody tr");
  if (!row || event.target.closest("a, button, .short, .asked") || getSelection().toString()) return;
  event.preventDefault();
  open(row);
}

function open(row) {
  const [outer, inner] = row.querySelectorAll("details");
  if (!outer.open) outer.open = true;
  else if (inner && !inner.open) inner.open = true;
  else {
    outer.open = false;
    if (inner) inner.open = false;
  }
}

const visible = () => rows.filter((row) => !row.hidden);

function move(by) {
  const list = visible();
  const at = list.indexOf(document.activeElement?.closest(".questions tbody tr"));
  const next = list[at < 0 ? (by > 0 ? 0 : list.length - 1) : Math.min(Math.max(at + by, 0), list.length - 1)];
  next?.querySelector("summary").focus();
  next?.scrollIntoView({ block: "nearest" });
}

document.addEventListener("backlab:key", ({ target, detail: { key, event } }) => {
  const row = target.closest?.(".questions tbody tr");
  if (key === "j") move(1);
  else if (key === "k") move(-1);
  else if (key === "o" && row) location.href = row.querySelector(".n a").href;
  else if (key === "Enter" && row && target.matches("summary")) open(row);
  else return;
  event.preventDefault();
});
