"use strict";
(() => {
  const tip = document.getElementById("tip");
  const show = (text, x, y) => {
    tip.textContent = text;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = Math.max(4, Math.min(x + 14, innerWidth - box.width - 8)) + "px";
    tip.style.top = (y + 18 + box.height > innerHeight ? y - box.height - 10 : y + 18) + "px";
  };
  document.addEventListener("pointermove", (event) => {
    const owner = event.target.closest ? event.target.closest("[data-tip]") : null;
    if (owner) show(owner.dataset.tip, event.clientX, event.clientY);
    else tip.hidden = true;
  });
  document.addEventListener("scroll", () => { tip.hidden = true; }, true);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });

  const held = document.getElementById("data");
  if (!held) return;
  const data = JSON.parse(held.textContent);
  const PAGE = 25;
  const by = (id) => document.getElementById(id);
  const set = by("f-set"), method = by("f-method"), outcome = by("f-outcome"), text = by("f-text");
  const list = by("list"), more = by("more"), count = by("f-count");
  let found = [], shown = 0;

  const el = (name, className, content) => {
    const node = document.createElement(name);
    if (className) node.className = className;
    if (content !== undefined) node.textContent = content;
    return node;
  };
  const option = (select, value, label) => {
    const node = el("option", "", label);
    node.value = value;
    select.append(node);
  };
  // Text with what was searched for marked; nothing of it is ever read as HTML.
  const marked = (node, content, wanted) => {
    if (!wanted) { node.append(content); return; }
    const low = content.toLowerCase();
    let from = 0, at = low.indexOf(wanted);
    while (at >= 0 && low.length === content.length) {
      node.append(content.slice(from, at), el("mark", "", content.slice(at, at + wanted.length)));
      from = at + wanted.length;
      at = low.indexOf(wanted, from);
    }
    node.append(content.slice(from));
  };

  option(set, "", "all");
  data.sets.forEach((name, index) => option(set, String(index), name));
  const fillMethods = () => {
    const before = method.value;
    const names = new Set();
    for (const q of data.questions) {
      if (set.value === "" || String(q.s) === set.value) for (const a of q.a) names.add(data.methods[a.m]);
    }
    method.replaceChildren();
    option(method, "", "any");
    for (const name of data.methods) if (names.has(name)) option(method, name, name);
    method.value = names.has(before) ? before : "";
  };
  const outcomeOf = (a) => (a.e !== undefined ? "failed" : a.r ? "right" : "wrong");
  const hay = new Map();
  const matches = (q) => {
    if (set.value !== "" && String(q.s) !== set.value) return false;
    const asked = method.value ? q.a.filter((a) => data.methods[a.m] === method.value) : q.a;
    if (method.value && !asked.length) return false;
    if (outcome.value && !asked.some((a) => outcomeOf(a) === outcome.value)) return false;
    const wanted = text.value.trim().toLowerCase();
    if (!wanted) return true;
    if (!hay.has(q)) hay.set(q, [q.i, q.q, ...q.g, ...q.a.map((a) => a.t || a.e || "")].join("\n").toLowerCase());
    return hay.get(q).includes(wanted);
  };
  const answer = (a, wanted) => {
    const state = outcomeOf(a);
    const name = data.methods[a.m];
    const row = el("div", `a ${state}${name === method.value ? " chosen" : ""}`);
    row.append(el("div", "who", name));
    const said = el("div", "said");
    if (a.e !== undefined) said.append(el("em", "", "failed: " + a.e));
    else if (!a.t) said.append(el("em", "", "(no text)"));
    else marked(said, a.t, wanted);
    row.append(said, el("div", "cost", a.c));
    if ((a.t || "").length > 420) {
      said.classList.add("long");
      const all = el("button", "link", "Show all of it");
      all.type = "button";
      all.onclick = () => { said.classList.remove("long"); all.remove(); };
      const line = el("div", "said"); line.append(all); row.append(el("div"), line);
    }
    const about = [a.o ? "Route: " + a.o : "", a.x || "", a.b ? "Background written by the expert" + (a.u ? " (" + a.u + " sure): " : ": ") + a.b : ""];
    if (about.some(Boolean)) {
      const details = el("details");
      details.append(el("summary", "", "scores" + (a.o ? ", route" : "") + (a.b ? ", background" : "")));
      for (const line of about) if (line) details.append(el("p", "", line));
      row.append(details);
    }
    return row;
  };
  const card = (q) => {
    const wanted = text.value.trim().toLowerCase();
    const box = el("details", "q");
    const head = el("summary");
    const strip = el("span", "strip");
    strip.setAttribute("role", "img");
    strip.setAttribute("aria-label", `${q.a.filter((a) => outcomeOf(a) === "right").length} of ${q.a.length} methods right`);
    for (const a of q.a) {
      const one = el("i", outcomeOf(a));
      one.dataset.tip = `${data.methods[a.m]}: ${outcomeOf(a)}`;
      strip.append(one);
    }
    head.append(strip, el("span", "set", data.sets[q.s]));
    marked(head, q.q, wanted);
    box.append(head);
    const fill = () => {
      if (box.childElementCount > 1) return;
      const gold = el("div", "gold");
      gold.append(el("b", "", q.g.length > 1 ? "Accepted" : "Gold"));
      marked(gold, q.g.join("  ·  "), wanted);
      box.append(gold, ...q.a.map((a) => answer(a, wanted)));
    };
    box.addEventListener("toggle", fill);
    if (shown < 1) { box.open = true; fill(); }
    return box;
  };
  const page = () => {
    const next = found.slice(shown, shown + PAGE);
    for (const q of next) { list.append(card(q)); shown += 1; }
    more.hidden = shown >= found.length;
    more.textContent = `Show ${Math.min(PAGE, found.length - shown)} more`;
  };
  const update = () => {
    found = data.questions.filter(matches);
    shown = 0;
    list.replaceChildren();
    count.textContent = `${found.length} of ${data.questions.length} questions`;
    page();
  };
  let waiting = 0;
  set.onchange = () => { fillMethods(); update(); };
  method.onchange = outcome.onchange = update;
  text.oninput = () => { clearTimeout(waiting); waiting = setTimeout(update, 120); };
  by("filters").onsubmit = (event) => { event.preventDefault(); update(); };
  more.onclick = page;
  fillMethods();
  update();
})();
