// What every page looks like: no violation of WCAG in light or dark, nothing wider than the screen, and pictures kept.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { A_RUN, browse, serve, start } from "./site.js";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const pictures = join(root, "target/screenshots");
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const phone = { width: 390, height: 844 };
const desk = { width: 1440, height: 900 };

let site, browser;

before(async () => {
  mkdirSync(pictures, { recursive: true });
  site = await serve();
  browser = await browse();
});

after(async () => {
  await browser?.close();
  await site?.end();
});

/** In the order of a reader's work: what a later one shows, an earlier one did. */
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
    const first = page.getByRole("button", { name: "rather read first" });
    if (await first.count()) await first.click();
    await page.locator(".faults").waitFor();
  }],
  ["question-run", "/q/7", async (page) => {
    const lock = page.getByRole("button", { name: "Lock it in" });
    if (await lock.count()) {
      const option = page.locator("#predict input[type=radio]").first();
      if (await option.count()) await option.check();
      else await page.locator("#predicted").fill("3");
      await lock.click();
      await page.getByText("You said").first().waitFor();
    }
    await start(page, page.getByRole("button", { name: /^Run/ }));
    await page.locator("#outcome .verdict-line").waitFor({ timeout: A_RUN });
    await page.locator(".where", { hasText: "verified" }).waitFor();
  }],
  ["question-refuted", "/q/7", async (page) => {
    await start(page, page.getByRole("button", { name: /Break it/ }).first());
    await page.locator("#outcome .verdict-line.no").waitFor({ timeout: A_RUN });
    await page.getByRole("button", { name: "Put the knobs back" }).click();
  }],
];

for (const colorScheme of ["light", "dark"]) {
  for (const viewport of [desk, phone]) {
    test(`every page at ${viewport.width} pixels, ${colorScheme}`, async (t) => {
      const context = await browser.newContext({ baseURL: site.address, viewport, colorScheme, reducedMotion: "reduce" });
      context.setDefaultTimeout(15_000);
      for (const [name, path, prepare] of states) {
        await t.test(name, async () => {
          const page = await context.newPage();
          await page.goto(path);
          await prepare?.(page);
          const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
          assert.ok(wide <= 0, `${wide} pixels wider than the screen`);
          // Colours differ by scheme and boxes by width; the fourth combination has nothing new.
          if (viewport === desk || colorScheme === "light") assert.deepEqual(await violations(page), []);
          await page.evaluate(() => document.activeElement?.blur());
          await page.screenshot({ path: join(pictures, `${name}-${viewport.width}-${colorScheme}.png`), fullPage: name !== "home" && name !== "keys" });
          await page.close();
        });
      }
      await context.close();
    });
  }
}

test("from 320 pixels to a 4K wall nothing is wider than the screen", async () => {
  for (const width of [320, 768, 1920, 3840]) {
    const page = await browser.newPage({ baseURL: site.address, viewport: { width, height: 1000 } });
    for (const path of ["/", "/q/7", "/q/21", "/doctor"]) {
      await page.goto(path);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wide <= 0, `${path} is ${wide} pixels wider than ${width}`);
    }
    await page.close();
  }
});

test("the picture of the README", { skip: process.env.UPDATE_SCREENSHOT !== "1" && "only with UPDATE_SCREENSHOT=1" }, async () => {
  const page = await browser.newPage({ baseURL: site.address, viewport: { width: 1200, height: 1120 }, colorScheme: "light" });
  await page.goto("/q/7");
  await page.locator("#run-title").evaluate((it) => scrollTo(0, it.getBoundingClientRect().top + scrollY - 30));
  await page.screenshot({ path: join(root, "docs/screenshot.png") });
  await page.close();
});

/** What axe finds against WCAG 2.2 A and AA and its own best practices, one line each. */
async function violations(page) {
  await page.evaluate(axe);
  const found = await page.evaluate(() => globalThis.axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
  }));
  assert.ok(found.passes.length > 20, "axe looked");
  return found.violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.target.join(" ")}: ${node.failureSummary.split("\n").join(" ")}`));
}
