function (root, table) {
  const panel = root.querySelector(".chart"), chosen = {};
  if (!panel) return;
  const W = 640, H = 300, L = 64, R = 16, T = 26, B = 56, MOST = 40;
  const COLOURS = ["#4285f4", "#f4a142", "#2e8b57", "#d9433b", "#8e63ce", "#00a3a3", "#b8860b", "#888888"];
  const columns = table.names.map((name, index) => ({ name, index, number: table.numbers[index] }));
  const numbers = columns.filter((column) => column.number), rows = { name: "rows", counts: true };
  const OF = {
    mean: (parts) => parts.reduce((sum, part) => sum + part, 0) / parts.length,
    sum: (parts) => parts.reduce((sum, part) => sum + part, 0),
    min: (parts) => parts.reduce((least, part) => Math.min(least, part)),
    max: (parts) => parts.reduce((most, part) => Math.max(most, part)),
  };
  const numeric = (text) => (text === null ? NaN : Number(text));
  const svg = (tag, attributes, text) => {
    const made = document.createElementNS(panel.querySelector("svg").namespaceURI, tag);
    for (const [key, given] of Object.entries(attributes)) made.setAttribute(key, given);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const short = (text, most) => (text.length > most ? text.slice(0, most - 1) + "…" : text);
  const said = (number) => Number(number.toPrecision(6)).toLocaleString("en");
  function ticks(low, high) {
    if (low === high) { low -= 0.5; high += 0.5; }
    const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((times) => times * power >= rough);
    const first = Math.floor(low / step), last = Math.ceil(high / step);
    return Array.from({ length: last - first + 1 }, (_, index) => (first + index) * step);
  }
  function axis(values, from, to) {
    const marks = ticks(Math.min(...values), Math.max(...values));
    const low = marks[0], high = marks[marks.length - 1];
    return { marks, at: (number) => from + (number - low) / (high - low) * (to - from) };
  }
  function frame(y, x, label, labels) {
    const made = svg("svg", { viewBox: `0 0 ${W} ${H}`, width: W, height: H, role: "img" });
    for (const mark of y.marks) {
      made.append(svg("line", { class: "grid", x1: L, x2: W - R, y1: y.at(mark), y2: y.at(mark) }));
      made.append(svg("text", { x: L - 8, y: y.at(mark) + 4, "text-anchor": "end" }, said(mark)));
    }
    const crowded = labels.some(([, text]) => text.length * 8 > (W - L - R) / labels.length);
    for (const [at, text] of labels) {
      const turned = crowded ? { transform: `rotate(-35 ${at} ${H - B + 16})`, "text-anchor": "end" } : { "text-anchor": "middle" };
      made.append(svg("text", { x: at, y: H - B + 16, ...turned }, short(text, 14)));
    }
    made.append(svg("text", { class: "label", x: W - R, y: H - 2, "text-anchor": "end" }, short(x, 60)));
    made.append(svg("text", { class: "label", x: 2, y: 11 }, short(label, 40)));
    return made;
  }
  function bars(pairs, x, y) {
    const shown = pairs.slice(0, MOST), scale = axis([0, ...shown.map(([, height]) => height)], H - B, T);
    const wide = (W - L - R) / shown.length;
    const made = frame(scale, x, y, shown.map(([text], index) => [L + (index + 0.5) * wide, text]));
    shown.forEach(([text, height], index) => {
      const top = Math.min(scale.at(height), scale.at(0));
      const bar = svg("rect", { x: L + (index + 0.1) * wide, y: top, width: 0.8 * wide, height: Math.abs(scale.at(height) - scale.at(0)), fill: COLOURS[0], rx: 2 });
      bar.append(svg("title", {}, `${text}: ${said(height)}`));
      made.append(bar);
    });
    return made;
  }
  function points(pairs, x, y, line) {
    const across = axis(pairs.map(([at]) => at), L, W - R), up = axis(pairs.map(([, at]) => at), H - B, T);
    const made = frame(up, x, y, across.marks.map((mark) => [across.at(mark), said(mark)]));
    const places = pairs.map(([at, height]) => [across.at(at), up.at(height)]);
    if (line) {
      const path = places.map((place) => place.map((part) => part.toFixed(1)).join(",")).join(" ");
      made.append(svg("polyline", { points: path, fill: "none", stroke: COLOURS[0], "stroke-width": 1.8, "stroke-linejoin": "round" }));
    } else for (const [cx, cy] of places) made.append(svg("circle", { cx, cy, r: 3, fill: COLOURS[0], opacity: 0.65 }));
    return made;
  }
  function pie(pairs) {
    const total = pairs.reduce((sum, [, part]) => sum + part, 0), sorted = pairs.slice().sort((a, b) => b[1] - a[1]);
    const parts = sorted.slice(0, COLOURS.length - 1), rest = sorted.slice(COLOURS.length - 1).reduce((sum, [, part]) => sum + part, 0);
    if (rest) parts.push(["others", rest]);
    const made = svg("svg", { viewBox: `0 0 ${W} ${H}`, width: W, height: H, role: "img" }), radius = 120;
    let turn = -Math.PI / 2;
    parts.forEach(([text, part], index) => {
      const end = turn + part / total * 2 * Math.PI, place = (angle) => `${160 + radius * Math.cos(angle)},${150 + radius * Math.sin(angle)}`;
      const shape = part === total ? svg("circle", { cx: 160, cy: 150, r: radius }) :
        svg("path", { d: `M160,150L${place(turn)}A${radius},${radius} 0 ${end - turn > Math.PI ? 1 : 0} 1 ${place(end)}Z` });
      shape.setAttribute("fill", COLOURS[index]);
      made.append(shape, svg("rect", { x: 320, y: 40 + 24 * index, width: 12, height: 12, rx: 2, fill: COLOURS[index] }));
      made.append(svg("text", { x: 340, y: 50 + 24 * index }, `${short(text, 24)}  ${(100 * part / total).toFixed(1)} %`));
      turn = end;
    });
    return made;
  }
  // One value for each x: how many rows have it, or the mean, sum, least or most of their y.
  function grouped(xs, ys) {
    const groups = new Map();
    xs.forEach((x, index) => (groups.get(x) || groups.set(x, []).get(x)).push(ys[index]));
    const values = [...groups].map(([x, parts]) => {
      const given = parts.filter(Number.isFinite);
      return [x, chosen.y.counts ? parts.length : given.length ? OF[chosen.of](given) : NaN];
    });
    return chosen.y.counts ? values.sort((a, b) => b[1] - a[1]) : values;
  }
  const tick = (name) => "`" + name.replaceAll("`", "``") + "`";
  // The statement that groups the whole table as the drawing groups the rows that are shown.
  function grouping(name, x, y) {
    const made = y.counts ? "rows" : `${chosen.of}_${y.name}`.replace(/\W/g, "_");
    const what = y.counts ? "count(*)" : `${chosen.of}(${tick(y.name)})`;
    return [`select ${tick(x.name)}, ${what} as ${made} from ${name} group by 1 order by 2 desc as ${name}_grouped;\n\n`, made];
  }
  const yaml = (text) => (/^[A-Za-z_]\w*$/.test(text) ? text : JSON.stringify(text));
  function draw() {
    const { kind, x, y } = chosen, xs = table.values(x.index), out = panel.querySelector("figure");
    const groups = ["bar", "pie"].includes(kind) && (y.counts || new Set(xs).size < xs.length);
    const ys = kind === "histogram" ? xs.map(numeric) : y.counts ? xs.map(() => null) : table.values(y.index).map(numeric);
    const shown = xs.map((text) => (text === null ? "NULL" : text));
    const both = (groups ? grouped(shown, ys) : shown.map((text, index) => [text, ys[index]])).filter(([, number]) => Number.isFinite(number));
    const plane = xs.map((text, index) => [numeric(text), ys[index]]).filter((pair) => pair.every(Number.isFinite));
    let made;
    if (kind === "histogram" && both.length) {
      const all = both.map(([, number]) => number), low = Math.min(...all), wide = (Math.max(...all) - low) / 20 || 1;
      const counts = Array(20).fill(0);
      for (const number of all) counts[Math.min(19, Math.floor((number - low) / wide))] += 1;
      made = bars(counts.map((count, index) => [said(low + index * wide), count]), x.name, "rows");
    } else if (kind === "pie" && both.length && both.every(([, part]) => part >= 0) && both.some(([, part]) => part > 0)) made = pie(both);
    else if (kind === "bar" && both.length) made = bars(both, x.name, y.counts || !groups ? y.name : `${chosen.of} of ${y.name}`);
    else if (kind === "line" && plane.length) made = points(plane.sort((a, b) => a[0] - b[0]), x.name, y.name, true);
    else if (kind === "scatter" && plane.length) made = points(plane, x.name, y.name, false);
    const note = document.createElement("p");
    note.textContent = kind === "pie" && !made ? "A pie needs numbers that are not below 0." : "There are no numbers to draw.";
    if (made) made.setAttribute("aria-label", `${kind} of ${kind === "histogram" ? x.name : `${y.name} by ${x.name}`}`);
    out.replaceChildren(made || note, ...(made ? [] : [svg("svg", { hidden: "" })]));
    const code = panel.querySelector("code");
    if (code) {
      const [first, of] = groups ? grouping(code.dataset.table, x, y) : ["", y.name];
      const from = code.dataset.table + (groups ? "_grouped" : "");
      code.textContent = `${first}--%visualize\n--%input=${from}\n${kind}:\n  x: ${yaml(x.name)}` + (kind === "histogram" ? "" : `\n  y: ${yaml(of)}`);
    }
    if (kind === "bar" && both.length > MOST) out.append(Object.assign(document.createElement("p"), { textContent: `the first ${MOST} of ${both.length}` }));
  }
  function choose(label, options, key) {
    const made = panel.querySelector(`select[name=${key}]`);
    made.replaceChildren(...options.map((option) => Object.assign(document.createElement("option"), { textContent: label(option) })));
    made.onchange = () => { chosen[key] = options[made.selectedIndex]; fit(); };
    chosen[key] = options[0];
  }
  function fit() {
    const plane = ["line", "scatter", "histogram"].includes(chosen.kind), before = chosen.x;
    panel.querySelector("label.y").hidden = chosen.kind === "histogram";
    panel.querySelector("label.of").hidden = plane || chosen.y.counts;
    if (plane && !before.number) chosen.x = numbers.find((column) => column !== chosen.y) || numbers[0];
    if (plane && chosen.y.counts) {
      chosen.y = numbers[0];
      panel.querySelector("select[name=y]").selectedIndex = 1;
    }
    panel.querySelector("select[name=x]").selectedIndex = chosen.x.index;
    draw();
    chosen.x = before;
  }
  panel.ontoggle = () => {
    if (!panel.open || chosen.kind) return;
    choose((kind) => kind, numbers.length ? ["bar", "line", "scatter", "histogram", "pie"] : ["bar", "pie"], "kind");
    choose((column) => column.name, columns, "x");
    choose((column) => (column.counts ? "count of rows" : column.name), [rows, ...numbers], "y");
    choose((of) => of, Object.keys(OF), "of");
    // Few values that repeat are categories, whose rows are counted; else the first column against a number.
    const distinct = (column) => new Set(table.values(column.index)).size;
    const categories = columns.filter((column) => !column.number && distinct(column) <= Math.min(MOST, table.values(0).length / 2));
    const category = categories.sort((a, b) => distinct(a) - distinct(b))[0];
    const other = numbers.findIndex((column) => column.index !== 0);
    if (category) { chosen.x = category; panel.querySelector("select[name=x]").selectedIndex = category.index; }
    else if (other >= 0) { chosen.y = numbers[other]; panel.querySelector("select[name=y]").selectedIndex = other + 1; }
    fit();
    table.changed = () => panel.open && fit();
  };
}
