/* Search worker: answers the messages of the theme's search box (mkdocs-material 9.8.1) from our own index.
 *
 * The box sends {type: 0} once and {type: 2, data: query} at each key; it expects {type: 1} when search is ready and
 * {type: 3, data: {items}} with the results, a list of [page, section, …]; titles and texts are inserted as HTML. */
"use strict";

const WEIGHTS = { title: 6, asked: 6, short: 4, headings: 2, tags: 1, body: 1 };
let pages, spread, index, words, loading, newest = 0, answered = "";

async function load() {
  importScripts("minisearch.js", "terms.js");
  const [stored, built] = await Promise.all(["first.json", "pages.json"].map(name => fetch(name)));
  const known = await built.json();
  index = MiniSearch.loadJSON(await stored.text(), FIRST);
  pages = known.pages;
  words = new Set(known.words);
  spread = new Map(known.spread);
  loadWhole().catch(error => console.error("search:", error));
}

async function loadWhole() { // most of the index, in the background
  index = await MiniSearch.loadJSONAsync(await (await fetch("whole.json")).text(), WHOLE);
  if (answered) postMessage({ type: 3, data: { items: items(answered) } });
}

// How rare the terms are, summed: on how few pages they are part of a wording.
const rarity = terms => [...terms].reduce((sum, term) => sum + Math.log(1 + pages.length / (spread.get(term) ?? 1)), 0);
const wordings = page => page.wordings ??= [page.title, ...page.asked].map(wording => new Set(tokens(wording)));

/* Two letters in the wrong order are put right before the word is stemmed; MiniSearch would count them as two mistakes. */
function untangled(query) {
  return query.replace(/[a-z]{4,}/gi, word => {
    if (words.has(word.toLowerCase())) return word;
    const swaps = [...word.slice(1)].map((sign, at) => word.slice(0, at) + sign + word[at] + word.slice(at + 2));
    return swaps.find(other => words.has(other.toLowerCase())) ?? word;
  });
}

function ranked(query) {
  const asked = [...new Set(tokens(untangled(query)))];
  if (!asked.length) return [];
  // Only words are completed and corrected, not formulas: the last one, which is still being typed, and unknown ones.
  const unknown = term => /^[a-z]{4,}$/.test(term) && !index.search(term, { tokenize: () => [term] }).length;
  const found = index.search(asked.join(" "), {
    tokenize: () => asked, boost: WEIGHTS, weights: { fuzzy: .35, prefix: .5 }, maxFuzzy: 2,
    prefix: (term, at) => /^[a-z]{3,}$/.test(term) && (at === asked.length - 1 || unknown(term)),
    fuzzy: term => unknown(term) && (term.length > 5 ? 2 : 1),
  }).slice(0, 50);
  for (const result of found) { // reward what matches more of the query, and a whole wording of the question
    const covered = result.queryTerms.length / asked.length;
    const hits = new Set([...result.queryTerms, ...result.terms]);
    const closest = Math.max(...wordings(pages[result.id]).map(wording =>
      2 * rarity([...wording].filter(term => hits.has(term))) / (rarity(wording) + rarity(asked) || 1)));
    const question = pages[result.id].url.startsWith("questions/") ? 1 : .5; // other pages repeat what the answers say
    result.score *= (.3 + covered ** 2) * (1 + 4 * closest ** 2) * question;
  }
  return found.sort((a, b) => b.score - a.score).filter(result => result.score > .03 * found[0].score).slice(0, 20);
}

const escape = text => text.replace(/[&<>"]/g, sign => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[sign]);

function marker(query, terms) { // the theme inserts HTML: escape first, then mark
  const known = new Set(terms), pairs = [...query.matchAll(HAN)].flatMap(([run]) =>
    run.length < 2 ? [run] : [...run].slice(1).map((sign, at) => run[at] + sign));
  const han = pairs.length && new RegExp(`(?:${pairs.join("|")})+`, "g");
  return text => {
    const marked = escape(text).replace(/[a-z0-9_^]+/gi, word =>
      tokens(word).some(term => known.has(term)) ? `<mark>${word}</mark>` : word);
    return han ? marked.replace(han, "<mark>$&</mark>") : marked;
  };
}

function items(query) {
  const chinese = /[\u3400-\u9fff]/;
  return ranked(query).map(result => {
    const page = pages[result.id], mark = marker(query, result.terms);
    const terms = Object.fromEntries(result.queryTerms.filter(term => /^[\p{L}\p{N}]{3,}$/u.test(term)).map(term => [term, true]));
    const wording = chinese.test(query) && page.asked.find(asked => chinese.test(asked));
    const short = page.short.length > 220 ? `${page.short.slice(0, 217)} …` : page.short;
    const entry = (location, title, text, score) => ({ location, title: mark(title), text, score, terms });
    const sections = page.headings.filter(([, heading]) => tokens(heading).some(term => result.queryTerms.includes(term)));
    return [
      entry(page.url, page.title, (wording ? `<p>${mark(wording)}</p>` : "") + mark(short), result.score),
      ...sections.slice(0, 2).map(([id, heading]) => entry(`${page.url}#${id}`, heading, "", result.score * .9)),
    ];
  });
}

const ready = () => loading ??= load().catch(error => { loading = undefined; console.error("search:", error); });
new BroadcastChannel("search").onmessage = ready; // site.js says that the box has focus

addEventListener("message", async ({ data: { type, data } }) => {
  if (type === 0) return postMessage({ type: 1 }); // the theme's own, emptied index is ignored
  if (type !== 2) return;
  const mine = ++newest;
  if (data.trim()) await ready();
  if (mine !== newest) return;
  answered = index ? data.trim() : "";
  postMessage({ type: 3, data: { items: answered && items(answered) || [] } });
});
