/* What a text is found by. The build (site_tools/search_index.cjs) and the search worker share this file: a query must be
 * cut into terms as the pages were. */
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

// Options of MiniSearch: for the index that answers first, without what the page says below its headings; for the whole.
const FIRST = { fields: ["title", "asked", "short", "headings", "tags"], tokenize: tokens, processTerm: term => term };
const WHOLE = { ...FIRST, fields: [...FIRST.fields, "body"] };
