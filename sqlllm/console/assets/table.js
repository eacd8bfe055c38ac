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
  function key(row, column, number) {
    const cell = row.cells[column];
    if (cell.className === "null") return null;
    return number ? Number(cell.textContent) : cell.textContent;
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
          const x = key(a, column, number), y = key(b, column, number);
          if (x === null || y === null) return (x === null) - (y === null);
          return sign * (number ? x - y : x.localeCompare(y));
        });
      }
      page = 0;
      show();
    };
  });
  show();
}
