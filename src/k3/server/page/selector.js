/** Label selectors, and what a label may be, as `kubectl -l` takes them: `a=b,c!=d,e in (x,y),f notin (z),g,!h`. Pure; as `k3.view.selector`. */

const KEY = "(?:[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?";
const VALUE = "(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)?";
const TERM = new RegExp(
  `^\\s*(?:(?<absent>!\\s*${KEY})|(?<key>${KEY})(?:\\s*(?<equal>==?|!=)\\s*(?<value>${VALUE})|\\s+(?<set>in|notin)\\s*\\((?<values>[^()]*)\\))?)\\s*$`,
);
const WHOLE_VALUE = new RegExp(`^${VALUE}$`);
const VALUE_CHARACTERS = 63;
const PREFIX_PART = /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$/;
const PREFIX_CHARACTERS = 253;
const LONGEST = 10_000;

/** Returns which part of a label Kubernetes does not take, `key` or `value`; empty: it takes both. As `k3.core.name_rules`. */
export function oddPart(key, value) {
  const isText = (text) => text.length <= VALUE_CHARACTERS && WHOLE_VALUE.test(text);
  const [name, prefix, ...more] = key.split("/").reverse();
  const isPrefix = prefix === undefined || (prefix.length <= PREFIX_CHARACTERS && prefix.split(".").every((each) => PREFIX_PART.test(each)));
  if (more.length || !isPrefix || !name || !isText(name)) return "key";
  return isText(value) ? "" : "value";
}

/** Returns a function that says whether labels are selected; null: the text is no selector. A blank one selects all. */
export function parseSelector(text) {
  if (!text.trim()) return () => true;
  if (text.length > LONGEST) return null;
  const terms = parts(text).map(term);
  return terms.includes(null) ? null : (labels) => terms.every((each) => each(labels));
}

/** Returns what stands between commas; those of a set part nothing. */
function parts(text) {
  const found = [];
  let begin = 0;
  for (const match of text.matchAll(/\([^()]*\)|,/g)) {
    if (match[0] !== ",") continue;
    found.push(text.slice(begin, match.index));
    begin = match.index + 1;
  }
  return [...found, text.slice(begin)];
}

function term(part) {
  const found = TERM.exec(part)?.groups;
  if (!found) return null;
  if (found.absent) {
    const key = found.absent.slice(1).trim();
    return (labels) => !Object.hasOwn(labels, key);
  }
  const { key, equal, set } = found;
  if (!equal && !set) return (labels) => Object.hasOwn(labels, key);
  const values = set ? found.values.split(",").map((each) => each.trim()) : [found.value];
  if (!values.every((each) => each.length <= VALUE_CHARACTERS && WHOLE_VALUE.test(each))) return null;
  const isIn = equal !== "!=" && set !== "notin";
  return (labels) => (Object.hasOwn(labels, key) && values.includes(labels[key])) === isIn;
}
