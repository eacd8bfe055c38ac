function (root, size) {
  const body = root.querySelector("tbody"), heads = [...root.querySelectorAll("th")];
  const pages = root.querySelector(".pages");
  let rows = [...body.rows], page = 0;
  const original = rows.slice(), last = () => Math.max(0, Math.ceil(rows.length / size) - 1);
  function button(label, step) {
    const made = document.createElement("button");
    made.textContent = label;
    made.onclick = () => { page = Math.min(last(), Math.max(0, page + step)); show(); };
    return made;
  }
  const back = button("‹", -1), forth = button("›", 1), where = document.createElement("span");
  if (rows.length > size) pages.append(back, where, forth);
  function show() {
    body.replaceChildren(...rows.slice(page * size, (page + 1) * size));
    where.textContent = `page ${page + 1} of ${last() + 1}`;
    back.disabled = page === 0;
    forth.disabled = page === last();
  }
  // What a cell holds, whole: null for NULL; JSON that is shown with its lines comes on one.
  function value(row, column) {
    const cell = row.cells[column], whole = cell.querySelector("pre");
    if (cell.classList.contains("null")) return null;
    if (!whole) return cell.textContent;
    const text = whole.textContent;
    return whole.className === "json" ? text.replace(/("(?:[^"\\]|\\.)*")|\s*\n\s*/g, (_, string) => string || "") : text;
  }
  heads.forEach((head, column) => {
    head.onclick = () => {
      const next = { none: "ascending", ascending: "descending", descending: "none" }[head.ariaSort || "none"];
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      const number = head.className === "n", sign = next === "descending" ? -1 : 1;
      rows = original.slice();
      if (next !== "none") {
        head.ariaSort = next;
        rows.sort((a, b) => {
          const x = value(a, column), y = value(b, column);
          if (x === null || y === null) return (x === null) - (y === null);
          return sign * (number ? x - y : x.localeCompare(y, undefined, { numeric: true }));
        });
      }
      page = 0;
      show();
    };
  });
  const names = heads.map((head) => head.textContent);
  const quoted = (text) => (text === null ? "" : /^$|[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const csv = root.querySelector(".csv");
  if (csv) csv.onclick = () => {
    const lines = rows.map((row) => heads.map((_, column) => quoted(value(row, column))).join(","));
    const file = new Blob([[names.map(quoted).join(","), ...lines, ""].join("\n")], { type: "text/csv" });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(file);
    link.download = csv.dataset.file;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  show();
  return { names, numbers: heads.map((head) => head.className === "n"), values: (column) => rows.map((row) => value(row, column)) };
}
