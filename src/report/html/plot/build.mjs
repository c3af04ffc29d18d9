// Bundles what entry.mjs names into ../plot.min.js, and the licences of all that is in it into THIRD-PARTY.txt.
import fs from "node:fs";
import path from "node:path";
import { build } from "esbuild";

const here = import.meta.dirname;
const { metafile } = await build({
  absWorkingDir: here,
  entryPoints: ["entry.mjs"],
  outfile: "../plot.min.js",
  bundle: true,
  minify: true,
  format: "iife",
  globalName: "Plot",
  target: "es2020",
  charset: "utf8",
  legalComments: "none",
  banner: { js: "/* Observable Plot 0.6.17 and D3, bundled; licences: THIRD-PARTY.txt of this folder's plot/ */" },
  metafile: true,
});

const packages = new Set();
for (const file of Object.keys(metafile.inputs)) {
  const match = /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(file);
  if (match) packages.add(match[1]);
}
let text = "What plot.min.js is made of, and under which terms.\n";
for (const name of [...packages].sort()) {
  const folder = path.join(here, "node_modules", name);
  const { version, license } = JSON.parse(fs.readFileSync(path.join(folder, "package.json"), "utf8"));
  const file = fs.readdirSync(folder).find((file) => /^licen[cs]e/i.test(file));
  if (!file) throw new Error(`${name} has no file of its licence`);
  const terms = fs.readFileSync(path.join(folder, file), "utf8").replaceAll(/[ \t\r]+$/gm, "").trim();
  text += `\n${"=".repeat(80)}\n${name} ${version}: ${license}\n${"=".repeat(80)}\n\n${terms}\n`;
}
fs.writeFileSync(path.join(here, "THIRD-PARTY.txt"), text);
console.log(`${packages.size} packages, ${fs.statSync(path.join(here, "../plot.min.js")).size} bytes`);
