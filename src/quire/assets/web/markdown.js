// Markdown into nodes. Text of a model only ever becomes text nodes: nothing here reads it as HTML, and no link
// leads anywhere but to the web or a mailbox. Every pass over a line is linear in its length.

const SAFE_LINK = /^(https?:\/\/|mailto:)/i;
const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^`\s]*)[^`]*$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*$/;
const RULE = /^ {0,3}([-*_])(\s*\1){2,}\s*$/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const TABLE_RULE = /^\s*\|?\s*:?-{1,}:?\s*(\|\s*:?-{1,}:?\s*)*\|?\s*$/;
const MAX_DEPTH = 8;

export function make(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") node.className = value;
    else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value != null) node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

export function markdown(text, onCopy) {
  return blocks(text.split("\n"), 0, onCopy);
}

function blocks(lines, depth, onCopy) {
  const out = document.createDocumentFragment();
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    let match;
    if (!line.trim()) at += 1;
    else if ((match = FENCE.exec(line))) at = fence(out, lines, at, match, onCopy);
    else if ((match = HEADING.exec(line))) {
      out.append(make(`h${Math.min(4, match[1].length)}`, {}, inline(match[2])));
      at += 1;
    } else if (RULE.test(line)) {
      out.append(make("hr"));
      at += 1;
    } else if (depth < MAX_DEPTH && line.trimStart().startsWith(">")) at = quote(out, lines, at, depth, onCopy);
    else if (depth < MAX_DEPTH && ITEM.test(line)) at = list(out, lines, at, depth, onCopy);
    else if (line.includes("|") && TABLE_RULE.test(lines[at + 1] ?? "") && lines[at + 1].includes("-")) at = table(out, lines, at);
    else at = paragraph(out, lines, at, depth);
  }
  return out;
}

function fence(out, lines, at, [, mark, language], onCopy) {
  const body = [];
  for (at += 1; at < lines.length && !closes(lines[at], mark); at += 1) body.push(lines[at]);
  const code = body.join("\n");
  const caption = make("div", { class: "caption" }, make("span", {}, language || "text"));
  caption.append(make("button", { class: "small", type: "button", onclick: () => onCopy(code) }, "Copy"));
  out.append(make("div", { class: "listing" }, caption, make("pre", { tabindex: "0" }, make("code", {}, code))));
  return at + 1;
}

function closes(line, mark) {
  const bare = line.trim();
  return bare.length >= mark.length && bare === mark[0].repeat(bare.length);
}

function quote(out, lines, at, depth, onCopy) {
  const inner = [];
  for (; at < lines.length && lines[at].trimStart().startsWith(">"); at += 1) inner.push(lines[at].trimStart().replace(/^> ?/, ""));
  out.append(make("blockquote", {}, blocks(inner, depth + 1, onCopy)));
  return at;
}

function list(out, lines, at, depth, onCopy) {
  const [, margin, mark] = ITEM.exec(lines[at]);
  const isOrdered = /\d/.test(mark);
  const start = isOrdered ? parseInt(mark, 10) : 1;
  const node = make(isOrdered ? "ol" : "ul", isOrdered && start !== 1 ? { start } : {});
  while (at < lines.length) {
    const match = ITEM.exec(lines[at]);
    if (!match || match[1].length > margin.length + 1 || match[1].length < margin.length || /\d/.test(match[2]) !== isOrdered) break;
    const inner = [match[3]];
    const indent = match[1].length + 2;
    for (at += 1; at < lines.length; at += 1) {
      const line = lines[at];
      const isBlank = !line.trim();
      const isDeeper = line.length - line.trimStart().length >= indent;
      if (isBlank) {
        const next = lines[at + 1] ?? "";
        if (!next.trim() || next.length - next.trimStart().length < indent) break;
        inner.push("");
      } else if (isDeeper) inner.push(line.slice(indent));
      else if (ITEM.test(line) || FENCE.test(line) || HEADING.test(line) || RULE.test(line)) break;
      else inner.push(line);
    }
    node.append(item(inner, depth, onCopy));
    while (at < lines.length && !lines[at].trim() && ITEM.test(lines[at + 1] ?? "")) at += 1;
  }
  out.append(node);
  return at;
}

function item(lines, depth, onCopy) {
  const node = make("li");
  const parts = blocks(lines, depth + 1, onCopy);
  const only = parts.childNodes.length && parts.firstChild.nodeName === "P" ? parts.firstChild : null;
  if (only) only.replaceWith(...only.childNodes); // a short item is no paragraph
  node.append(parts);
  return node;
}

function table(out, lines, at) {
  const cells = (line) => line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());
  const row = (line, kind) => make("tr", {}, ...cells(line).map((cell) => make(kind, {}, inline(cell))));
  const head = make("thead", {}, row(lines[at], "th"));
  const body = make("tbody");
  for (at += 2; at < lines.length && lines[at].includes("|") && lines[at].trim(); at += 1) body.append(row(lines[at], "td"));
  out.append(make("div", { class: "table" }, make("table", {}, head, body)));
  return at;
}

function paragraph(out, lines, at, depth) {
  const inner = [];
  for (; at < lines.length; at += 1) {
    const line = lines[at];
    const isOther = FENCE.test(line) || HEADING.test(line) || RULE.test(line) || line.trimStart().startsWith(">") || ITEM.test(line);
    if (!line.trim() || (inner.length && isOther && depth < MAX_DEPTH)) break;
    inner.push(line.trimEnd());
  }
  out.append(make("p", {}, inline(inner.join("\n"))));
  return at;
}

// ---- within a line ----

const PAIRS = [["***", "strong"], ["**", "strong"], ["__", "strong"], ["~~", "del"], ["*", "em"], ["_", "em"]];

export function inline(text, depth = 0) {
  const out = document.createDocumentFragment();
  const absent = new Set(); // marks that do not come again: looked for once, not from every place
  let plain = "";
  const flush = () => { if (plain) out.append(...withBreaks(plain)); plain = ""; };
  let at = 0;
  while (at < text.length) {
    const step = depth < MAX_DEPTH ? special(text, at, absent, depth) : null;
    if (step) {
      flush();
      out.append(step.node);
      at = step.end;
    } else if (text[at] === "\\" && /[\\`*_~[\]()#+\-.!|>{}]/.test(text[at + 1] ?? "")) {
      plain += text[at + 1];
      at += 2;
    } else {
      plain += text[at];
      at += 1;
    }
  }
  flush();
  return out;
}

function special(text, at, absent, depth) {
  const first = text[at];
  if (first === "`") return code(text, at, absent);
  if (first === "[" || (first === "!" && text[at + 1] === "[")) return link(text, at, absent, depth);
  if (first === "h" && !/\w/.test(text[at - 1] ?? " ")) return bareLink(text, at);
  if (first !== "*" && first !== "_" && first !== "~") return null;
  for (const [mark, name] of PAIRS) {
    if (!text.startsWith(mark, at)) continue;
    if (mark[0] === "_" && /\w/.test(text[at - 1] ?? " ")) return null;
    if (absent.has(mark) || /\s/.test(text[at + mark.length] ?? " ")) continue;
    const end = closing(text, at + mark.length + 1, mark);
    if (end < 0) {
      absent.add(mark);
      continue;
    }
    const inner = inline(text.slice(at + mark.length, end), depth + 1);
    const node = mark === "***" ? make("strong", {}, make("em", {}, inner)) : make(name, {}, inner);
    return { node, end: end + mark.length };
  }
  return null;
}

function closing(text, from, mark) {
  for (let end = text.indexOf(mark, from); end >= 0; end = text.indexOf(mark, end + 1)) {
    const isTight = !/\s/.test(text[end - 1]);
    const isWhole = mark.length > 1 || (text[end + 1] !== mark && text[end - 1] !== mark);
    const isWordEnd = mark[0] !== "_" || !/\w/.test(text[end + mark.length] ?? " ");
    if (isTight && isWhole && isWordEnd) return end;
  }
  return -1;
}

function code(text, at, absent) {
  let length = 1;
  while (text[at + length] === "`") length += 1;
  const mark = "`".repeat(length);
  if (absent.has(mark)) return null;
  const end = text.indexOf(mark, at + length);
  if (end < 0) {
    absent.add(mark);
    return null;
  }
  return { node: make("code", {}, text.slice(at + length, end).trim()), end: end + length };
}

function link(text, at, absent, depth) {
  const from = text[at] === "!" ? at + 2 : at + 1;
  if (absent.has("](")) return null;
  const middle = text.indexOf("](", from);
  if (middle < 0) {
    absent.add("](");
    return null;
  }
  const end = text.indexOf(")", middle);
  const address = text.slice(middle + 2, end).trim().split(/\s/)[0];
  if (end < 0 || middle - from > 2000 || !SAFE_LINK.test(address)) return null;
  return { node: anchor(address, inline(text.slice(from, middle), depth + 1)), end: end + 1 };
}

function bareLink(text, at) {
  const rest = text.slice(at, at + 8);
  if (!rest.startsWith("http://") && !rest.startsWith("https://")) return null;
  let end = at;
  while (end < text.length && !/[\s<>"`]/.test(text[end])) end += 1;
  while (/[.,;:!?)\]*_]/.test(text[end - 1])) end -= 1;
  const address = text.slice(at, end);
  return address.length > 10 ? { node: anchor(address, address), end } : null;
}

function anchor(address, content) {
  return make("a", { href: address, target: "_blank", rel: "noopener noreferrer nofollow" }, content);
}

function withBreaks(text) {
  return text.split("\n").flatMap((line, place) => (place ? [make("br"), line] : [line]));
}
