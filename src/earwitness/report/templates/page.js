"use strict";
(() => {
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];

  /* Sorting: numbers by value, text alphabetically; undefined cells stay last. */
  const compare = (a, b, sign) => {
    if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
    const both = a !== "" && b !== "" && !isNaN(a) && !isNaN(b);
    return sign * (both ? a - b : a.localeCompare(b));
  };
  const sortBy = (table, at, sign) => {
    const key = (row) => row.cells[at].dataset.sort;
    const rows = [...table.tBodies[0].rows];
    table.tBodies[0].append(...rows.sort((a, b) => compare(key(a), key(b), sign)));
  };
  for (const table of all("table")) {
    if (table.tBodies[0].rows.length < 2) continue;
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, at) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const was = head.getAttribute("aria-sort");
        const isNumber = head.classList.contains("n");
        const down = was ? was === "ascending" : isNumber;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        sortBy(table, at, down ? -1 : 1);
      });
    });
  }

  /* Filters: rows by their text, and the whole page by detector. */
  for (const label of all(".filter")) {
    const input = label.querySelector("input");
    const rows = all("tbody tr", label.parentElement);
    label.hidden = rows.length < 2;
    input.addEventListener("input", () => {
      const wanted = input.value.trim().toLowerCase();
      for (const row of rows) {
        row.classList.toggle("unmatched", !row.textContent.toLowerCase().includes(wanted));
        updateHidden(row);
      }
    });
  }
  const updateHidden = (part) => {
    part.hidden = part.classList.contains("unmatched") || part.classList.contains("deselected");
  };
  const chips = document.querySelector(".chips");
  if (chips) {
    chips.hidden = false;
    const buttons = all("button", chips);
    const selected = new Set();
    const show = () => {
      for (const button of buttons) {
        const name = button.dataset.show;
        const on = name === "" ? selected.size === 0 : selected.has(name);
        button.setAttribute("aria-pressed", on);
      }
      for (const part of all("[data-detector]")) {
        const out = selected.size > 0 && !selected.has(part.dataset.detector);
        part.classList.toggle("deselected", out);
        updateHidden(part);
      }
    };
    for (const button of buttons) {
      button.addEventListener("click", () => {
        const name = button.dataset.show;
        if (name === "") selected.clear();
        else if (!selected.delete(name)) selected.add(name);
        show();
      });
    }
  }

  /* Tooltips: by pointer, by touch, and by arrow keys once a chart has the focus. */
  const tip = document.querySelector(".tip");
  let active = null;
  const hide = () => {
    if (active) active.classList.remove("on");
    active = null;
    tip.hidden = true;
  };
  const showTip = (mark) => {
    if (mark === active) return;
    hide();
    active = mark;
    mark.classList.add("on");
    tip.textContent = mark.dataset.tip;
    tip.hidden = false;
    const box = mark.getBoundingClientRect();
    const left = box.left + box.width / 2 - tip.offsetWidth / 2;
    const over = box.top - tip.offsetHeight - 8;
    tip.style.left = Math.max(8, Math.min(left, innerWidth - tip.offsetWidth - 8)) + "px";
    tip.style.top = (over < 8 ? box.bottom + 8 : over) + "px";
  };
  document.addEventListener("pointerover", (event) => {
    const mark = event.target.closest("[data-tip]");
    if (mark) showTip(mark);
    else hide();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return hide();
    const chart = document.activeElement;
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step || !chart || chart.tagName.toLowerCase() !== "svg") return;
    const marks = all("[data-tip]", chart);
    if (!marks.length) return;
    event.preventDefault();
    const at = marks.indexOf(active);
    const next = at < 0 ? (step > 0 ? 0 : marks.length - 1) : at + step;
    showTip(marks[(next + marks.length) % marks.length]);
  });
  document.addEventListener("focusout", hide);
  addEventListener("scroll", hide, { passive: true });

  /* A player that cannot play its file is replaced by a note. */
  for (const player of all("audio")) {
    player.addEventListener("error", () => {
      const note = document.createElement("span");
      note.className = "under";
      note.textContent = "cannot be played from here";
      player.replaceWith(note);
    });
  }

  /* In print, folded sections are open; the data under the charts is left out. */
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = all("details.fold:not([open])");
    for (const part of opened) part.open = true;
  });
  addEventListener("afterprint", () => {
    for (const part of opened) part.open = false;
  });
})();
