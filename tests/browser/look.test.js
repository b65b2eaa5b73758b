// What every page looks like: no violation of WCAG in light or dark, nothing wider than the screen, and pictures kept.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { A_RUN, browse, loadedUntil, serve, start } from "./site.js";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const pictures = join(root, "target/screenshots");
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const phone = { width: 390, height: 844 };
const desk = { width: 1440, height: 900 };

let browser;

before(async () => {
  mkdirSync(pictures, { recursive: true });
  browser = await browse();
});

after(() => browser?.close());

/** A site of one's own for each test, on which nobody has done anything yet. */
async function site(t) {
  const { address, check, end } = await serve();
  t.after(end);
  return { address, check };
}

/** In the order of a reader's work: what one shows, those before it did. */
const states = [
  ["home", "/"],
  ["home-open", "/?q=HTTP+methods", async (page) => {
    await page.locator("tr:visible td.s").first().click();
    await page.locator("tr:visible td.s").first().click();
  }],
  ["question-new", "/q/7"],
  ["question-unwritten", "/q/149"],
  ["keys", "/", (page) => page.keyboard.press("?")],
  ["doctor", "/doctor"],
  ["refused", "/q/nothing"],
  ["question-read", "/q/21", async (page) => {
    await page.getByRole("button", { name: "rather read first" }).click();
    await page.locator(".faults").waitFor();
  }],
  ["question-run", "/q/7", async (page) => {
    await predictAndRun(page);
    await page.locator(".where", { hasText: "verified" }).waitFor();
  }],
  ["question-refuted", "/q/7", async (page) => {
    await start(page, page.getByRole("button", { name: /Break it/ }).first());
    await page.locator("#outcome .verdict-line.no").waitFor({ timeout: A_RUN });
    await page.getByRole("button", { name: "Put the knobs back" }).click();
  }],
  ["build-failed", "/q/7", (page, check) => built(page, check, "head-without-headers")],
  ["build-passed", "/q/7", (page, check) => built(page, check)],
  ["build-failed-after-a-pass", "/q/7", (page, check) => built(page, check, "counts-views")],
  ["home-built", "/"],
];

/** The challenge after a check, with all open that opens. */
async function built(page, check, bug) {
  check("http-methods", bug);
  await loadedUntil(page, bug ? "#build .failed" : "#build .notes");
  await page.locator("#build details").evaluateAll((all) => all.forEach((it) => (it.open = true)));
}


for (const colorScheme of ["light", "dark"]) {
  for (const viewport of [desk, phone]) {
    test(`every page at ${viewport.width} pixels, ${colorScheme}`, async (t) => {
      const { address, check } = await site(t);
      const context = await browser.newContext({ baseURL: address, viewport, colorScheme, reducedMotion: "reduce" });
      context.setDefaultTimeout(15_000);
      for (const [name, path, prepare] of states) {
        await t.test(name, async () => {
          const page = await context.newPage();
          await page.goto(path);
          await prepare?.(page, check);
          const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
          assert.ok(wide <= 0, `${wide} pixels wider than the screen`);
          // Colours differ by scheme and boxes by width; the fourth combination has nothing new.
          if (viewport === desk || colorScheme === "light") assert.deepEqual(await violations(page), []);
          await page.evaluate(() => document.activeElement?.blur());
          const picture = join(pictures, `${name}-${viewport.width}-${colorScheme}.png`);
          const whole = name.startsWith("build") ? page.locator("#build") : page;
          await whole.screenshot({ path: picture, fullPage: !name.startsWith("home-b") && name !== "home" && name !== "keys" });
          await page.close();
        });
      }
      await context.close();
    });
  }
}

test("from 320 pixels to a 4K wall nothing is wider than the screen", async (t) => {
  const { address: baseURL, check } = await site(t);
  check("http-methods", "counts-views");
  for (const width of [320, 768, 1920, 3840]) {
    const page = await browser.newPage({ baseURL, viewport: { width, height: 1000 } });
    for (const path of ["/", "/q/7", "/q/21", "/doctor"]) {
      await page.goto(path);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wide <= 0, `${path} is ${wide} pixels wider than ${width}`);
    }
    await page.close();
  }
});

const asked = process.env.UPDATE_SCREENSHOT === "1";

test("the picture of the README", { skip: !asked && "only with UPDATE_SCREENSHOT=1" }, async (t) => {
  const viewport = { width: 1000, height: 600 };
  const page = await browser.newPage({ baseURL: (await site(t)).address, viewport, colorScheme: "light", reducedMotion: "reduce" });
  await page.goto("/q/7");
  await predictAndRun(page);
  await page.evaluate(() => document.activeElement?.blur());
  const { y, height } = await page.locator("#outcome figure").first().boundingBox();
  const top = await page.evaluate(() => scrollY);
  const clip = { x: 0, y: 0, width: viewport.width, height: Math.ceil(top + y + height + 16) };
  await page.screenshot({ path: join(root, "docs/screenshot.png"), fullPage: true, clip });
  await page.close();
});

async function predictAndRun(page) {
  await page.locator("#predicted").fill("3");
  await page.getByRole("button", { name: "Lock it in" }).click();
  await page.getByText("You said").first().waitFor();
  await start(page, page.getByRole("button", { name: /^Run/ }));
  await page.locator("#outcome .verdict-line").waitFor({ timeout: A_RUN });
}

/** What axe finds against WCAG 2.2 A and AA and its own best practices, one line each. */
async function violations(page) {
  await page.evaluate(axe);
  const found = await page.evaluate(() => globalThis.axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
  }));
  assert.ok(found.passes.length > 20, "axe looked");
  return found.violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.target.join(" ")}: ${node.failureSummary.split("\n").join(" ")}`));
}
