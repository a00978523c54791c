/* Search worker: answers the messages of the theme's search box (mkdocs-material 9.8.1) from our own index.
 *
 * The box sends {type: 0} once and {type: 2, data: query} at each key; it expects {type: 1} when search is ready and
 * {type: 3, data: {items}} with the results, a list of [page, section, …]; titles and texts are inserted as HTML. */
"use strict";

const STOP = new Set(`a about an and any are as at be but by can could did do does for from get give had has have how i if in
  into is it its just me my no not of on one or our should so some than that the their them then there these they this to
  up us use used using was we were what when where which who why will with would you your`.split(/\s+/));
// Question and function words, which every Chinese question has.
const ASKED = /为什么|为何|怎么样|怎么|怎样|什么|如何|哪里|哪些|哪个|可以|能不能|是不是|会不会|有没有|有何|请问|应该|多少|[的了吗呢和与是在会有把被就都也要]/g;
const HAN = /[\u3400-\u9fff]+/g;
const SYMBOLS = [[/²/g, "^2"], [/³/g, "^3"], [/√\s*/g, " sqrt "], [/根号/g, " 根号 sqrt "], [/[×·⋅*]/g, " "]];

function stem(word) { // plural, -ing, -ed, -ation and the like; documents and queries pass through it alike
  if (word.length < 5 || /[^a-z]/.test(word)) return word;
  const cut = word.replace(/(ations?|ating|ated|ates?)$/, "at").replace(/(ity|ities)$/, "").replace(/ies$/, "y").replace(/(ings?|ed|ly)$/, "")
    .replace(/([^s])s$/, "$1").replace(/e$/, "").replace(/([bdgmnprt])\1$/, "$1");
  return cut.length < 3 ? word : cut;
}

/* "sqrt(d_k)" gives sqrt, dk and sqrt:dk; "O(n^2 d)" gives o(n2d), n2, d; "80/10/10" and "token_type_ids" the whole and
 * the parts; a run of Chinese its overlapping pairs. */
function tokens(text) {
  for (const [pattern, replacement] of SYMBOLS) text = text.replace(pattern, replacement);
  text = text.normalize("NFKC").toLowerCase();
  const found = [];
  for (const [, inside] of text.matchAll(/\bo\s*\(([^()]{1,20})\)/g)) found.push(`o(${inside.replace(/[^a-z0-9]/g, "")})`);
  for (const [, of] of text.matchAll(/(?:sqrt|square root of|root of|root)\s*\(?\s*\{?([a-z][a-z0-9_]{0,5})\b/g)) {
    found.push(`sqrt:${of[0]}`);
  }
  text = text.replace(ASKED, " ").replace(HAN, run => {
    if (run.length === 1) found.push(run);
    for (let at = 0; at + 1 < run.length; at++) found.push(run.slice(at, at + 2));
    return " ";
  });
  for (const [word] of text.matchAll(/[\p{L}\p{N}]+(?:[_^./-]+[\p{L}\p{N}]+)*/gu)) {
    const parts = word.split(/[_^./-]+/);
    if (/[0-9_^./]/.test(word) && parts.length > 1) found.push(parts.join(""));
    for (const part of parts) if (!STOP.has(part)) found.push(stem(part));
    if (/^non-?[a-z]{5}/.test(word)) found.push(stem(word.replace(/^non-?/, ""))); // "nonlinear" is about linear
  }
  return found;
}

const WEIGHTS = { title: 6, asked: 6, short: 4, headings: 2, tags: 1, body: 1 };
let pages, wordings, rarity, index, loading, newest = 0;
const vocabulary = new Set(), words = new Set(); // all terms of all pages, all words before they are stemmed

async function load() {
  importScripts("minisearch.js");
  pages = await (await fetch("pages.json")).json();
  const learned = text => {
    for (const word of text.toLowerCase().match(/[a-z]{4,}/g) ?? []) words.add(word);
    return tokens(text).map(term => { vocabulary.add(term); return term; });
  };
  const text = value => Array.isArray(value) ? value.map(part => Array.isArray(part) ? part[1] : part).join("\n") : value;
  index = new MiniSearch({
    fields: Object.keys(WEIGHTS), tokenize: learned, processTerm: term => term,
    extractField: (page, field) => field === "id" ? page.id : text(page[field]),
  });
  pages.forEach((page, id) => index.add(Object.assign(page, { id })));
  wordings = pages.map(page => [page.title, ...page.asked].map(wording => new Set(tokens(wording))));
  const spread = new Map(); // term -> on how many pages it is part of a wording
  for (const page of wordings) for (const term of new Set(page.flatMap(wording => [...wording]))) {
    spread.set(term, (spread.get(term) ?? 0) + 1);
  }
  rarity = terms => [...terms].reduce((sum, term) => sum + Math.log(1 + pages.length / (spread.get(term) ?? 1)), 0);
}

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
  const unknown = term => /^[a-z]{4,}$/.test(term) && !vocabulary.has(term);
  const found = index.search(asked.join(" "), {
    tokenize: () => asked, boost: WEIGHTS, weights: { fuzzy: .35, prefix: .5 }, maxFuzzy: 2,
    prefix: (term, at) => /^[a-z]{3,}$/.test(term) && (at === asked.length - 1 || unknown(term)),
    fuzzy: term => unknown(term) && (term.length > 5 ? 2 : 1),
  }).slice(0, 50);
  for (const result of found) { // reward what matches more of the query, and a whole wording of the question
    const covered = result.queryTerms.length / asked.length;
    const hits = new Set([...result.queryTerms, ...result.terms]);
    const closest = Math.max(...wordings[result.id].map(wording =>
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
  if (mine === newest) postMessage({ type: 3, data: { items: data.trim() && index ? items(data) : [] } });
});
