// Opens a page of kds in Chromium, waits until the lag of a stuck shard is shown, and takes a picture. A live page has to draw the
// lags of several looks.
// node pages_check.cjs CHROMIUM PROFILE PAGE PICTURE
"use strict";
const puppeteer = require("puppeteer-core");

const [executablePath, userDataDir, address, picture] = process.argv.slice(2);
const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];
const WITHIN = 3000;

// True once a row of the leases has a lag that is neither none nor unknown.
const showsLag = () => {
  const rows = [...document.querySelectorAll("#leases tr")].map(row => [...row.cells].map(cell => cell.textContent));
  return /worst lag [1-9]/.test(document.getElementById("head").textContent)
    && rows.some(([shard, owner, lag]) => shard.startsWith("shardId-") && owner === "worker-1" && /^[1-9][0-9.]* (s|min)$/.test(lag));
};

async function shown(browser, address, picture, enough) {
  const page = await browser.newPage();
  const errors = [];
  page.on("pageerror", error => errors.push(error.message));
  page.on("console", message => { if (message.type() === "error") errors.push(message.text()); });
  page.on("request", request => { if (new URL(request.url()).host !== new URL(address).host) errors.push(request.url()); });
  await page.setViewport({ width: 960, height: 800 });
  const begun = Date.now();
  await page.goto(address, { waitUntil: "domcontentloaded" });
  await page.waitForFunction(showsLag, { timeout: WITHIN, polling: 50 });
  console.log(`the lag of a stuck shard is shown after ${Date.now() - begun} ms: ${address}`);
  await page.waitForFunction(enough, { timeout: 30000, polling: 100 });
  await page.screenshot({ path: picture, fullPage: true });
  if (errors.length) throw new Error(errors.join("\n"));
}

async function main() {
  const browser = await puppeteer.launch({ executablePath, userDataDir, args, headless: true });
  try {
    const lines = () => [...document.querySelectorAll("#lag polyline")].some(line => line.points.length >= 12);
    const lineage = () => document.querySelectorAll("#lineage svg *").length > 0;
    await shown(browser, address, picture, address.startsWith("http:") ? lines : lineage);
  } finally {
    await browser.close();
  }
}

main().catch(error => { console.error(error); process.exit(1); });
