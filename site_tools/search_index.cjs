/* Builds what the search worker loads. Records of the pages as JSON on standard input, a folder as argument.
 *
 * first.json and whole.json: the indexes, as MiniSearch writes them. pages.json: what a result shows of each page, all words of all pages
 * (to tell mistyped words), and for each term on how many pages it is part of a wording of the question. */
"use strict";
const fs = require("fs"), path = require("path"), vm = require("vm");
const MiniSearch = require("minisearch");

const folder = process.argv[2];
const { tokens, FIRST, WHOLE } = vm.runInThisContext(fs.readFileSync(path.join(folder, "terms.js"), "utf8") + "({ tokens, FIRST, WHOLE })");
const pages = JSON.parse(fs.readFileSync(0, "utf8"));
const text = value => Array.isArray(value) ? value.map(part => Array.isArray(part) ? part[1] : part).join("\n") : value;

const words = new Set(), spread = new Map();
const extractField = (page, field) => field === "id" ? page.id : text(page[field]);
const first = new MiniSearch({ ...FIRST, extractField }), whole = new MiniSearch({ ...WHOLE, extractField });
pages.forEach((page, id) => {
  for (const index of [first, whole]) index.add({ ...page, id });
  for (const field of WHOLE.fields) for (const word of text(page[field]).toLowerCase().match(/[a-z]{4,}/g) ?? []) words.add(word);
  for (const term of new Set([page.title, ...page.asked].flatMap(tokens))) spread.set(term, (spread.get(term) ?? 0) + 1);
  delete page.body;
});
const files = { first, whole, pages: { pages, words: [...words].sort(), spread: [...spread] } };
for (const name in files) fs.writeFileSync(path.join(folder, `${name}.json`), JSON.stringify(files[name]));
