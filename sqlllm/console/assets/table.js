function (root, size) {
  const body = root.querySelector("tbody"), heads = [...root.querySelectorAll("th")];
  const csv = root.querySelector(".csv"), all = csv && csv.textContent;
  const pages = root.querySelector(".pages"), found = root.querySelector(".found"), search = root.querySelector(".search");
  const names = heads.map((head) => head.querySelector(".name").textContent);
  const numbers = heads.map((head) => head.className === "n");
  const original = [...body.rows];
  let rows = original, page = 0, chosen = null; // chosen: a column and the value or the range that its rows have
  const make = (tag, attributes, ...inside) => {
    const made = Object.assign(document.createElement(tag), attributes);
    made.append(...inside);
    return made;
  };
  const last = () => Math.max(0, Math.ceil(rows.length / size) - 1);
  const turn = (step) => { page = Math.min(last(), Math.max(0, page + step)); show(); };
  const back = make("button", { textContent: "‹", title: "previous page", onclick: () => turn(-1) });
  const forth = make("button", { textContent: "›", title: "next page", onclick: () => turn(1) });
  const where = make("span", {});
  if (rows.length > size) pages.append(back, where, forth);
  function show() {
    body.replaceChildren(...rows.slice(page * size, (page + 1) * size));
    where.textContent = `page ${page + 1} of ${last() + 1}`;
    back.disabled = page === 0;
    forth.disabled = page === last();
    if (csv) csv.textContent = rows.length === original.length ? all : `CSV of ${rows.length.toLocaleString("en")} rows`;
    found.replaceChildren();
    if (!chosen && !(search && search.value)) return;
    found.append(`${rows.length.toLocaleString("en")} of ${original.length.toLocaleString("en")} rows${chosen ? ` with ${names[chosen.column]}: ${chosen.label}` : ""}`);
    found.append(make("button", { textContent: "show all", onclick: () => { chosen = null; if (search) search.value = ""; fit(); } }));
  }
  // What a cell holds, whole: null for NULL; JSON that is shown with its lines comes on one.
  function value(row, column) {
    const cell = row.cells[column], whole = cell.querySelector("pre");
    if (cell.classList.contains("null")) return null;
    if (!whole) return cell.textContent;
    const text = whole.textContent;
    return whole.className === "json" ? text.replace(/("(?:[^"\\]|\\.)*")|\s*\n\s*/g, (_, string) => string || "") : text;
  }
  // The rows that are searched for and chosen, in the order of the head that was clicked.
  function fit() {
    const wanted = search ? search.value.toLowerCase() : "";
    rows = original.filter((row) => (!chosen || chosen.has(value(row, chosen.column)))
      && (!wanted || heads.some((_, column) => (value(row, column) ?? "NULL").toLowerCase().includes(wanted))));
    const column = heads.findIndex((head) => head.ariaSort);
    if (column >= 0) {
      const sign = heads[column].ariaSort === "descending" ? -1 : 1;
      rows.sort((a, b) => {
        const x = value(a, column), y = value(b, column);
        if (x === null || y === null) return (x === null) - (y === null);
        return sign * (numbers[column] ? x - y : x.localeCompare(y, undefined, { numeric: true }));
      });
    }
    page = 0;
    show();
    if (table.changed) table.changed();
  }
  if (search) search.oninput = fit;
  // What a column holds: distinct values, NULLs, and its most frequent values or a histogram; a click shows those rows.
  function about(column) {
    const all = original.map((row) => value(row, column)), kept = all.filter((one) => one !== null);
    const counts = new Map();
    for (const one of kept) counts.set(one, (counts.get(one) || 0) + 1);
    const figures = [`${counts.size.toLocaleString("en")} distinct`, `${(all.length - kept.length).toLocaleString("en")} NULL`];
    let parts;
    const said = (number) => Number(number.toPrecision(6)).toLocaleString("en");
    const values = numbers[column] ? kept.map(Number).filter(Number.isFinite) : [];
    if (values.length && counts.size > 12) {
      const low = values.reduce((a, b) => Math.min(a, b)), high = values.reduce((a, b) => Math.max(a, b)), wide = (high - low) / 10 || 1;
      figures.push(`from ${said(low)} to ${said(high)}`, `mean ${said(values.reduce((a, b) => a + b, 0) / values.length)}`);
      const place = (number) => Math.min(9, Math.floor((number - low) / wide));
      parts = Array.from({ length: 10 }, (_, index) => ({
        label: `${said(low + index * wide)} to ${said(low + (index + 1) * wide)}`, count: 0,
        has: (one) => one !== null && place(Number(one)) === index }));
      for (const number of values) parts[place(number)].count += 1;
    } else {
      parts = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 12).map(([one, count]) => ({ label: one.length > 40 ? one.slice(0, 39) + "…" : one, count, has: (other) => other === one }));
    }
    const most = Math.max(1, ...parts.map((part) => part.count)), bars = parts.map((part) => {
      const bar = make("i", {});
      bar.style.width = `${100 * part.count / most}%`;
      return make("button", { title: "show these rows", onclick: () => { chosen = { column, ...part }; fit(); } },
        make("span", { textContent: part.label }), bar, make("span", { textContent: part.count.toLocaleString("en") }));
    });
    return make("div", { className: "about" }, make("p", {}, make("b", { textContent: names[column] }), ` ${figures.join(", ")} in ${all.length.toLocaleString("en")} rows`), ...bars);
  }
  heads.forEach((head, column) => {
    head.onclick = () => {
      const next = { none: "ascending", ascending: "descending" }[head.ariaSort || "none"];
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      if (next) head.ariaSort = next;
      fit();
    };
    head.querySelector(".kind").onclick = (event) => {
      event.stopPropagation();
      const open = root.querySelector(".about"), again = open && open.dataset.column === String(column);
      if (open) open.remove();
      if (again) return;
      const made = about(column);
      made.dataset.column = column;
      root.querySelector(".scroll").after(made);
    };
  });
  const quoted = (text) => (text === null ? "" : /^$|[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  if (csv) csv.onclick = () => {
    const lines = rows.map((row) => heads.map((_, column) => quoted(value(row, column))).join(","));
    const file = new Blob([[names.map(quoted).join(","), ...lines, ""].join("\n")], { type: "text/csv" });
    const link = make("a", { href: URL.createObjectURL(file), download: csv.dataset.file });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  const table = { names, numbers, values: (column) => rows.map((row) => value(row, column)), changed: null };
  show();
  return table;
}
