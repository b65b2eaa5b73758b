// What a reader does, in a real browser: predict, run, see the ticks; with keys alone; without scripts.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { A_RUN, browse, loadedUntil, serve, start } from "./site.js";

let site, browser, context, page;
let complaints = [];

before(async () => {
  site = await serve();
  browser = await browse();
});

after(async () => {
  await browser?.close();
  assert.equal(await site?.end(), 0, "the server ends in order");
});

beforeEach(() => open({}));

afterEach(async () => {
  await context.close();
  assert.deepEqual(complaints, [], "the browser complained: of the policy, of a script, or of a file");
});

async function open(options) {
  await context?.close();
  complaints = [];
  context = await browser.newContext({ baseURL: site.address, viewport: { width: 1280, height: 900 }, ...options });
  context.setDefaultTimeout(15_000);
  page = await context.newPage();
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(error.message));
}

/** Says something, whatever is asked. */
async function predict() {
  const option = page.locator("#predict input[type=radio]").first();
  if (await option.count()) await option.check();
  else await page.locator("#predicted").fill("3");
  await page.getByRole("button", { name: "Lock it in" }).click();
  await page.getByText("You said").first().waitFor();
}

async function outcome() {
  await page.locator("#outcome .verdict-line").waitFor({ timeout: A_RUN });
  return page.locator("#outcome .verdict-line").textContent();
}

for (const [number, slug, parts] of [
  [7, "http-methods", "SQLite"],
  [21, "transactions-and-isolation-matrix", "PostgreSQL"],
]) {
  test(`question ${number}: predict, run, see the ticks`, async () => {
    await page.goto(`/q/${number}`);
    assert.ok(page.url().endsWith(`/q/${number}-${slug}`));
    assert.equal(await page.locator("#outcome").innerText(), "", "nothing is shown before the reader said something");
    assert.equal(await page.getByRole("button", { name: /Break it/ }).count(), 0);

    await page.getByRole("button", { name: "Run", exact: true }).click();
    assert.match(await page.locator("#outcome").innerText(), /^$/, "Run asks for the prediction first");

    await predict();
    await start(page, page.getByRole("button", { name: "Run", exact: true }));
    assert.match(await outcome(), /^✓ (\d+) of \1 claims hold\.$/);

    assert.match(await page.locator("#outcome .verdict").textContent(), /^You said .+ It was .+/);
    const claims = page.locator(".claims li");
    assert.ok((await claims.count()) > 0);
    for (const claim of await claims.all()) assert.equal(await claim.getAttribute("data-state"), "holds");
    assert.match(await page.locator(".provenance").textContent(), new RegExp(`${parts} \\d.*seed \\d+`));
    assert.match(await page.locator("pre.again").textContent(), new RegExp(`^backlab run ${slug} .*--seed \\d+$`));
    await page.locator(".where", { hasText: "verified" }).waitFor();
    const cited = page.locator("#answer .here");
    assert.ok((await cited.count()) >= (await claims.count()), "each claim is cited");
    assert.match(await cited.first().textContent(), /^here:/, "the measured figure stands in the answer");

    await page.reload();
    assert.match(await outcome(), /claims hold/, "the run is kept");
  });
}

test("breaking the mechanism turns claims red, and says why in words", async () => {
  await page.goto("/q/7");
  await start(page, page.getByRole("button", { name: /Break it/ }).first());
  assert.match(await outcome(), /^✗ \d+ of \d+ claims refuted, with .+: .+\.$/);
  const refuted = page.locator(".claims li.no").first();
  assert.match(await refuted.innerText(), /✗[\s\S]*Refuted: expected .+\. It breaks when .+/);
  assert.ok((await page.locator(".knobs .changed").count()) > 0, "the knobs show what was broken");
  await page.locator("#answer .here.no").first().waitFor();

  await page.getByRole("button", { name: "Put the knobs back" }).click();
  await start(page, page.getByRole("button", { name: /^Run/ }));
  await page.locator("#outcome .verdict-line", { hasText: "✓" }).waitFor({ timeout: A_RUN });
  await page.getByText("Earlier runs").click();
  await page.locator("#earlier tbody tr").first().waitFor();
});

test("who would rather read first may, and what was measured is then shown", async () => {
  await page.goto("/q/106");
  await page.getByRole("button", { name: "rather read first" }).click();
  await page.locator(".where", { hasText: "read" }).waitFor();
  assert.ok(await page.locator("#answer").isVisible());
  assert.equal(await page.getByRole("button", { name: /Break it/ }).first().isVisible(), true);
});

test("a run can be cancelled", async () => {
  await page.goto("/q/106");
  await page.getByRole("button", { name: /^Run/ }).click();
  await page.locator("#live .lanes").waitFor({ timeout: A_RUN });
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.locator("#outcome", { hasText: "Cancelled" }).waitFor({ timeout: A_RUN });
  assert.ok(await page.getByRole("button", { name: /^Run/ }).isVisible());
});

test("two tabs that press Run share one run", async () => {
  const other = await context.newPage();
  await Promise.all([page.goto("/q/21"), other.goto("/q/21")]);
  const started = () => page.waitForResponse((it) => it.url().endsWith("/run"));
  const first = started();
  await page.getByRole("button", { name: /^Run/ }).click();
  const { run } = await (await first).json();
  const second = other.waitForResponse((it) => it.url().endsWith("/run"));
  await other.getByRole("button", { name: /^Run/ }).click();
  assert.equal((await (await second).json()).run, run);
  for (const tab of [page, other]) await tab.locator("#outcome .verdict-line").waitFor({ timeout: A_RUN });
});

test("the list finds as one types, filters, and opens in place", async () => {
  await page.goto("/");
  const rows = page.locator(".questions tbody tr:visible");
  assert.equal(await rows.count(), 150);
  await page.keyboard.press("/");
  await page.keyboard.type("isolation anomal");
  await page.locator("#shown", { hasText: "of 150 shown" }).waitFor();
  assert.ok((await rows.count()) >= 1 && (await rows.count()) < 10);
  assert.ok(page.url().endsWith("?q=isolation+anomal"), page.url());
  await page.locator("#q").fill("consistent-hashing");
  await page.locator("#shown", { hasText: "1 of 150 shown" }).waitFor();
  await page.getByRole("link", { name: "show all" }).click();

  await page.getByRole("navigation", { name: "Tracks" }).getByRole("link", { name: /Caching/ }).click();
  await page.getByRole("group", { name: "Level" }).getByRole("link", { name: "Hard" }).click();
  const here = await rows.count();
  await page.goto("/?track=caching&level=hard");
  assert.equal(await rows.count(), here, "the server shows the same for the same address");

  await page.goto("/?q=HTTP+methods");
  const row = rows.first();
  await row.locator("td.l").click();
  await row.locator(".asked").waitFor();
  await row.locator("td.l").click();
  await row.locator(".short p").first().waitFor();
  await row.locator("td.l").click();
  assert.equal(await row.locator(".asked").isVisible(), false);
});

test("everything is reached by keys alone", async () => {
  await page.goto("/?q=HTTP+methods+safe");
  await page.keyboard.press("?");
  assert.ok(await page.getByRole("dialog", { name: "Keys" }).isVisible());
  await page.keyboard.press("Escape");
  await page.keyboard.press("j");
  await page.keyboard.press("Enter");
  await page.locator("tr:visible .asked").waitFor();
  await page.keyboard.press("Enter");
  await page.locator("tr:visible .short p").first().waitFor();
  await page.keyboard.press("o");
  await page.waitForURL(/\/q\/7-/);

  await Promise.all([page.waitForRequest(/events/), page.keyboard.press("r")]);
  assert.match(await outcome(), /claims/);
  await page.keyboard.press("]");
  await page.waitForURL(/\/q\/8-/);
  await page.keyboard.press("[");
  await page.waitForURL(/\/q\/7-/);

  const knob = page.locator(".knobs input").first();
  await knob.fill(await knob.getAttribute("max"));
  await page.locator("#predicted, #predict input[type=radio]").first().waitFor();
  await knob.blur();
  await page.keyboard.press("p");
  assert.ok(await page.evaluate(() => document.activeElement.name === "predicted"), "p goes to the prediction");
  await page.keyboard.press("Escape");
  await page.keyboard.press("g");
  await page.keyboard.press("h");
  await page.waitForURL(/\/$/);

  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to the content");
  await page.keyboard.press("?");
  await page.getByLabel("Single keys are in force").uncheck();
  await page.keyboard.press("Escape");
  await page.keyboard.press("j");
  assert.equal(await page.evaluate(() => document.activeElement.closest("tr")), null, "single keys can be turned off");
});

test("without scripts all can be read, predicted and run", async () => {
  await open({ javaScriptEnabled: false });
  await page.goto("/?track=rest-apis&q=methods");
  assert.equal(await page.locator(".questions tbody tr:visible").count(), 1);
  await page.locator("tr:visible summary").first().click();
  await page.locator("tr:visible .short summary").click();
  assert.ok(await page.locator("tr:visible .short p").first().isVisible());
  await page.locator("tr:visible .go").click();

  assert.ok((await page.locator("#answer").innerText()).length > 1000, "the answer is there");
  const knob = page.locator(".knobs input").first();
  await knob.fill(await knob.getAttribute("min"));
  await page.getByRole("button", { name: /^Run/ }).click();
  await page.waitForURL(/#outcome$/, { timeout: A_RUN });
  assert.match(await outcome(), /claims/);
  await page.locator("#build summary", { hasText: "Node.js" }).click();
  assert.ok(await page.getByText("node main.mjs").isVisible());
  assert.equal(await page.getByRole("button", { name: "Copy" }).count(), 0, "a button that does nothing isn't there");
});

test("a challenge: what to build, a check that fails, and one that passes", async (t) => {
  const own = await serve();
  t.after(own.end);
  await open({ baseURL: own.address, permissions: ["clipboard-read", "clipboard-write"] });
  await page.goto("/q/7");
  await page.locator(".where").getByRole("link", { name: "Build it" }).click();
  await page.getByRole("heading", { name: "A document store with honest methods" }).waitFor();
  const stages = page.locator(".stages li");
  const count = await stages.count();
  assert.equal(await page.locator(".stages .mark").count(), 0, "nothing is marked before a check");
  await page.getByRole("button", { name: "Copy" }).first().click();
  await page.getByRole("button", { name: "Copied" }).waitFor();
  assert.equal(
    await page.evaluate(() => navigator.clipboard.readText()),
    "backlab new http-methods --language python\ncd http-methods\nbacklab check http-methods -- python3 main.py",
  );
  await page.locator("#build summary", { hasText: "Node.js" }).click();
  await page.getByText("node main.mjs").waitFor();
  assert.equal(await page.getByText("python3 main.py").isVisible(), false, "one language at a time");

  own.check("http-methods", "head-without-headers");
  await loadedUntil(page, "#build .failed");
  assert.match(await stages.nth(1).innerText(), /^2\s+POST picks.*\s+✓ passed$/);
  assert.match(await stages.nth(2).innerText(), /^3\s+HEAD tells.*\s+✗ failed$/);
  assert.match(await stages.nth(3).innerText(), /not run$/);
  assert.match(await page.locator(".cause").innerText(), /^The likely cause: HEAD has a handler of its own/);
  const hint = page.getByText("Run the handler of GET, and leave out the body");
  assert.equal(await hint.isVisible(), false, "a hint is for those who ask");
  await page.getByText("A hint").click();
  assert.ok(await hint.isVisible());
  assert.equal(await page.getByText("How we did it").count(), 0);

  own.check("http-methods");
  await loadedUntil(page, "#build .notes");
  assert.equal(await page.locator(".stages [data-mark=passed]").count(), count);
  assert.match(await page.locator(".where").innerText(), /◆ built · Build it$/);
  await page.getByText("Our program, line by line").click();
  assert.ok(await page.locator("#build pre.code").isVisible());

  await page.goto("/");
  await page.getByRole("group", { name: "Status" }).getByRole("link", { name: "built" }).click();
  assert.deepEqual(await page.locator(".questions tr:visible td.n").allInnerTexts(), ["7"]);
  await page.getByRole("link", { name: "show all" }).click();
  await page.getByRole("link", { name: "to build" }).click();
  const here = await page.locator(".questions tbody tr:visible").count();
  assert.ok(here > 0 && here < 150 && page.url().endsWith("?build=yes"), page.url());
  await page.reload();
  assert.equal(await page.locator(".questions tbody tr:visible").count(), here, "the server shows the same");
});

test("a run that can't begin says why, in the page", async () => {
  await page.goto("/q/7");
  const knob = page.locator(".knobs input").first();
  await knob.evaluate((it) => {
    it.removeAttribute("max");
    it.value = "1000000";
  });
  await page.getByRole("button", { name: /^Run/ }).click();
  await page.locator("#progress", { hasText: "1000000 is outside" }).waitFor();
  complaints = complaints.filter((it) => !it.includes("400"));
});

test("where a part isn't installed, the page says so, with the line that installs it", async (t) => {
  const bare = await serve({ PATH: "/nonexistent" });
  t.after(bare.end);
  await page.goto(`${bare.address}/doctor`);
  const redis = page.getByRole("listitem").filter({ has: page.getByRole("heading", { name: /Redis/ }) });
  assert.match(await redis.innerText(), /✗ Redis not here[\s\S]*apt-get install .*redis-server/);
  await page.getByRole("heading", { name: "Can’t run here" }).waitFor();

  await page.goto(`${bare.address}/q/38`);
  assert.match(await page.locator("#run div.absent").innerText(), /Redis, which isn’t available[\s\S]*apt-get install/);
  await predict();
  await start(page, page.getByRole("button", { name: /^Run/ }));
  assert.match(await outcome(), /^– Not run: .*redis.* apt-get install /);
  assert.equal(await page.locator(".where").innerText(), "38 of 150 · Caching · Medium · ◑ predicted", "nothing is verified");
});
