// What the tests share: Backlab itself, served from an empty directory, and the machine's own Chromium.

import { spawn, spawnSync } from "node:child_process";
import { accessSync, constants, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { chromium } from "playwright-core";

/** How long a run may take on a busy machine, in milliseconds. */
export const A_RUN = 60_000;

/** Serves, with other settings of the environment where there are some. */
export async function serve(env = {}) {
  const program = process.env.BACKLAB;
  if (!program) throw new Error("set BACKLAB to the program to test, such as target/debug/backlab");
  const data = mkdtempSync(join(tmpdir(), "backlab-browser-"));
  const child = spawn(program, ["--data", data, "serve", "--bind", "127.0.0.1:0"], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const address = await new Promise((found, failed) => {
    let said = "";
    child.stdout.on("data", (chunk) => {
      said += chunk;
      const address = said.match(/http:\/\/[\d.:]+/);
      if (address) found(address[0]);
    });
    child.on("error", failed);
    child.on("exit", (code) => failed(new Error(`${program} ended with ${code} before it said where it listens`)));
  });
  const end = async () => {
    const ended = new Promise((done) => child.once("exit", done));
    child.kill("SIGTERM");
    const code = await ended;
    rmSync(data, { recursive: true, force: true });
    return code;
  };
  // Checks our own program for a challenge, with a bug or without, as a reader checks theirs in a terminal.
  const check = (slug, bug) => {
    const reference = [program, "reference", slug, ...(bug ? ["--bug", bug] : [])];
    const { status } = spawnSync(program, ["--data", data, "check", slug, "--seed", "4242", "--", ...reference]);
    if (status !== (bug ? 1 : 0)) throw new Error(`the check of ${slug} ended with ${status}`);
  };
  return { address, check, end };
}

/** Presses a button that runs, and returns when the outcome of the run before has been put away. */
export async function start(page, button) {
  await Promise.all([page.waitForRequest(/\/runs\/\d+\/events/), button.click()]);
}

/** Loads the page again until it shows something: what another process has written is noticed a moment later. */
export async function loadedUntil(page, selector) {
  const end = Date.now() + A_RUN;
  while ((await page.locator(selector).count()) === 0) {
    if (Date.now() > end) throw new Error(`${page.url()} never shows ${selector}`);
    await page.reload();
  }
}

export function browse() {
  const isRoot = process.getuid?.() === 0;
  return chromium.launch({ executablePath: onPath("chromium", "chromium-browser", "google-chrome"), args: isRoot ? ["--no-sandbox"] : [] });
}

function onPath(...programs) {
  for (const dir of process.env.PATH.split(delimiter)) {
    for (const program of programs) {
      try {
        accessSync(join(dir, program), constants.X_OK);
        return join(dir, program);
      } catch {
        // Not in this directory.
      }
    }
  }
  throw new Error(`none of ${programs.join(", ")} is on the PATH; on Debian: apt-get install chromium`);
}
