// Predict and run without leaving the page. The server renders; this places what it renders. Without scripts the same
// forms lead through pages of their own.

const article = document.querySelector("article[data-question]");
const form = document.getElementById("try");
const $ = (id) => document.getElementById(id);
const path = location.pathname;
const wide = matchMedia("(min-width: 40.01rem)");
let stream = null;
let underWay = null;

const knobs = () => [...document.querySelectorAll(".knobs [name]")];
const settings = () => new URLSearchParams(knobs().map((it) => [it.name, it.value]));

// ---- places what the server rendered -------------------------------------------------------------------------------

function place(text) {
  const fresh = new DOMParser().parseFromString(text, "text/html");
  for (const part of document.querySelectorAll("[data-live]")) {
    const from = fresh.getElementById(part.id);
    if (from) part.replaceChildren(...from.childNodes);
  }
  knobsChanged(false);
  document.dispatchEvent(new CustomEvent("backlab:fresh"));
}

async function refresh() {
  const answer = await fetch(`${path}?${settings()}`, { headers: { Accept: "text/html" } });
  if (answer.ok) place(await answer.text());
}

// Under the Run button, and to a screen reader. What stands in the outcome anyhow is only said.
function say(text, alsoSeen = false) {
  $("progress").textContent = text;
  $("progress").classList.toggle("sr", alsoSeen);
}

async function why(answer) {
  const { error, why } = await answer.json();
  return `${error}. ${why}`;
}

const lost = () => say("Backlab doesn’t answer. Is it still running?");

// ---- predict -------------------------------------------------------------------------------------------------------

async function post(action, body) {
  const answer = await fetch(action, { method: "POST", body, headers: { Accept: "application/json" } });
  if (!answer.ok) return say(await why(answer));
  say("");
  await refresh();
}

// ---- run -----------------------------------------------------------------------------------------------------------

async function run(body) {
  if (underWay) return;
  say("Starting …");
  const answer = await fetch(`${path}/run`, { method: "POST", body, headers: { Accept: "application/json" } });
  if (!answer.ok) return say(await why(answer));
  watch((await answer.json()).run);
}

function watch(id) {
  stream?.close();
  underWay = id;
  buttons();
  const live = $("live");
  live.replaceChildren();
  $("outcome").replaceChildren();
  stream = new EventSource(`/runs/${id}/events?width=${wide.matches ? 680 : 340}`);
  stream.addEventListener("waiting", ({ data }) => {
    say(data === "0" ? "Starting …" : `Waiting: ${data} before this one.`);
  });
  stream.addEventListener("step", ({ data }) => {
    const { step, messages, seconds } = JSON.parse(data);
    sayStep(step);
    $("clock").textContent = `${seconds.toFixed(1)} s · ${messages} messages`;
  });
  stream.addEventListener("sequence", ({ data }) => {
    live.hidden = false;
    const low = live.scrollHeight - live.scrollTop - live.clientHeight < 80;
    live.innerHTML = data;
    if (low || live.scrollTop === 0) live.scrollTop = live.scrollHeight;
  });
  stream.addEventListener("report", ({ data }) => ended(data));
  stream.onerror = () => {
    // It tries again by itself unless the server said that there is no such run.
    if (stream.readyState === EventSource.CLOSED) finish();
    lost();
  };
}

// Said to a screen reader only when it changes.
function sayStep(step) {
  const text = step ?? "Running …";
  if ($("progress").textContent !== text) say(text);
}

async function ended(html) {
  finish();
  $("live").hidden = true;
  $("outcome").innerHTML = html;
  say($("outcome").querySelector(".verdict-line")?.textContent ?? "Cancelled.", true);
  await refresh();
}

function finish() {
  stream?.close();
  stream = null;
  underWay = null;
  buttons();
}

// Cancel stands where Run stood, and takes over the focus; and the other way round.
function buttons() {
  const go = $("go");
  const focused = go.contains(document.activeElement);
  const atRest = go.querySelectorAll("#run-button, #defaults-button, .at-rest");
  for (const it of atRest) it.classList.toggle("away", underWay !== null);
  for (const it of go.querySelectorAll(".while-running")) it.remove();
  for (const button of document.querySelectorAll("#faults button")) button.disabled = underWay !== null;
  if (underWay !== null) go.prepend(cancelButton(), clock());
  if (focused) $(underWay === null ? "run-button" : "cancel-button").focus();
}

function cancelButton() {
  const button = document.createElement("button");
  Object.assign(button, { type: "button", id: "cancel-button", className: "outlined while-running" });
  button.textContent = "Cancel";
  button.addEventListener("click", () => {
    fetch(`/runs/${underWay}/cancel`, { method: "POST", headers: { Accept: "application/json" } }).catch(lost);
  });
  return button;
}

function clock() {
  const clock = document.createElement("span");
  Object.assign(clock, { id: "clock", className: "soft while-running" });
  return clock;
}

// ---- knobs ---------------------------------------------------------------------------------------------------------

let asking = 0;

function knobsChanged(ask = true) {
  let changed = false;
  for (const knob of knobs()) {
    const is = knob.value !== knob.dataset.default;
    knob.classList.toggle("changed", is);
    changed ||= is;
  }
  const back = $("defaults-button");
  if (back) back.hidden = !changed;
  if (!ask || knobs().some((knob) => !knob.checkValidity())) return;
  clearTimeout(asking);
  asking = setTimeout(async () => {
    const answer = await fetch(`${path}/predict?${settings()}`).catch(() => null);
    if (answer?.ok) $("predict").innerHTML = await answer.text();
  }, 150);
}

function set(values) {
  for (const knob of knobs()) knob.value = values.get(knob.name) ?? knob.dataset.default;
  knobsChanged();
}

// ---- what is pressed -----------------------------------------------------------------------------------------------

document.addEventListener("submit", (event) => {
  const { target, submitter } = event;
  const action = submitter?.getAttribute("formaction") ?? target.getAttribute("action");
  if (!action?.startsWith(path)) return;
  event.preventDefault();
  const body = new URLSearchParams(new FormData(target));
  if (action.endsWith("/run")) {
    if (target !== form) set(body);
    run(body).catch(lost);
  } else if (action.endsWith("/predict")) {
    post(action, body).then(() => $("run-button").focus()).catch(lost);
  } else {
    const first = target === form;
    post(action, new URLSearchParams()).then(() => first && $("in-30-seconds")?.scrollIntoView()).catch(lost);
  }
});

if (form) {
  document.querySelector(".knobs")?.addEventListener("input", () => knobsChanged());
  document.addEventListener("click", (event) => {
    if (event.target.closest("#defaults-button")) set(new Map());
  });
  knobsChanged(false);
  if (article.dataset.run) watch(Number(article.dataset.run));
}

// ---- lines for a shell ---------------------------------------------------------------------------------------------

// A browser lends the clipboard only to pages of this machine, or over TLS.
for (const lines of navigator.clipboard ? document.querySelectorAll("pre.shell") : []) {
  const button = document.createElement("button");
  Object.assign(button, { type: "button", textContent: "Copy" });
  button.addEventListener("click", async () => {
    const text = [...lines.querySelectorAll("span")].map((line) => line.textContent).join("\n");
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  lines.prepend(button);
}

document.addEventListener("backlab:key", ({ detail: { key, event } }) => {
  const neighbour = { "[": "prev", "]": "next" }[key];
  if (neighbour) document.querySelector(`.neighbours [rel=${neighbour}]`)?.click();
  else if (key === "p") document.querySelector("#predict input, #predict button")?.focus();
  else if (key === "r" && $("run-button") && !underWay) form.requestSubmit($("run-button"));
  else if (key === "." && underWay) $("cancel-button").click();
  else return;
  event.preventDefault();
});
