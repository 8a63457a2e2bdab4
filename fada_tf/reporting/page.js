"use strict";
// The address says what is shown: #PLACE&NAME=VALUE&… Every control changes the address alone, and the page follows it.
{
  const find = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  function address() {
    const parts = location.hash.slice(1).split("&");
    const place = parts[0].includes("=") ? "" : parts.shift();
    return { place, settings: new URLSearchParams(parts.join("&")) };
  }

  function change(changes, { place = address().place, back = false } = {}) {
    const { settings } = address();
    for (const [name, value] of Object.entries(changes)) {
      if (value === "") settings.delete(name);
      else settings.set(name, value);
    }
    const hash = `#${[place, settings.toString()].filter(Boolean).join("&")}`;
    if (hash !== (location.hash || "#")) history[back ? "pushState" : "replaceState"](null, "", hash);
    show();
  }

  function show() {
    const { settings } = address();
    for (const [table, rows] of tables) showSorted(table, rows, settings.get(`sort.${table.id}`));
    if (filter) showFiltered(settings);
    if (viewer) showCompared(settings);
  }

  function follow() {
    show();
    const { place, settings } = address();
    const target = document.getElementById(place);
    if (!target || settings.has("view")) return;
    target.scrollIntoView();
    target.focus({ preventScroll: true });
  }

  // Tables: sort.TABLE=COLUMN, with a minus where the highest come first.
  const tables = new Map(all("table[id]").map((table) => [table, [...table.tBodies[0].rows]]));
  const number = (text) => parseFloat(text.replaceAll(",", ""));

  function compare(one, other) {
    const [first, second] = [number(one), number(other)];
    return isNaN(first) || isNaN(second) ? one.localeCompare(other, "en", { numeric: true }) : first - second;
  }

  function showSorted(table, rows, setting) {
    const [, minus, column] = /^(-?)(\d+)$/.exec(setting ?? "") ?? [];
    const text = (row) => row.cells[column].textContent;
    const heads = [...table.tHead.rows[0].cells];
    const lacks = (row) => Number(column) > 0 && isNaN(number(text(row))); // these come last, either way
    const order = heads[column]
      ? [...rows].sort((one, other) => lacks(one) - lacks(other) || (minus ? -1 : 1) * compare(text(one), text(other)))
      : rows;
    if (order.some((row, place) => row !== table.tBodies[0].rows[place])) table.tBodies[0].append(...order);
    heads.forEach((head, place) => {
      if (String(place) !== column) head.removeAttribute("aria-sort");
      else head.setAttribute("aria-sort", minus ? "descending" : "ascending");
    });
  }

  for (const [table, rows] of tables) {
    [...table.tHead.rows[0].cells].forEach((head, place) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      const numbers = place > 0 && rows.some((row) => !isNaN(number(row.cells[place].textContent)));
      const steps = numbers ? [`-${place}`, `${place}`, ""] : [`${place}`, `-${place}`, ""];
      button.addEventListener("click", () => {
        const name = `sort.${table.id}`;
        const next = steps[(steps.indexOf(address().settings.get(name) ?? "") + 1) % 3];
        change({ [name]: next }, { place: table.id });
      });
    });
  }

  // Pictures: class=NAME, condition.NAME=VALUE, order=NAME.
  const filter = find("#filter");
  const examples = all("article").map((element) => ({ element, ...JSON.parse(element.dataset.scores) }));
  let shown = examples;

  function showFiltered(settings) {
    const [classes, ...others] = all("select", filter);
    const [order] = others.splice(-1);
    for (const select of [classes, ...others, order]) {
      select.value = settings.get(select.name) ?? "";
      if (select.selectedIndex < 0) select.selectedIndex = 0;
    }
    const column = classes.selectedIndex; // 0 is the mean
    const gain = ({ before, after }) => after[column] - before[column];
    const value = {
      worst: ({ after }) => after[column],
      best: ({ after }) => -after[column],
      gained: (example) => -gain(example),
      lost: gain,
    }[order.value];
    const fits = ({ after, conditions }) =>
      after[column] !== null && others.every((select, place) => !select.value || conditions[place] === select.value);
    shown = examples.filter(fits).sort((one, other) => value(one) - value(other));
    for (const example of examples) example.element.hidden = !shown.includes(example);
    const now = all("article:not([hidden])");
    if (shown.some(({ element }, place) => element !== now[place])) {
      filter.after(...shown.map(({ element }) => element)); // only then: what moves loses the focus
    }
    for (const { before, after, ofClass } of shown) {
      const percent = (scores) => `${(100 * scores[column]).toFixed(1)} %`;
      ofClass.textContent = column
        ? `; ${classes.value} ${percent(after)}${before.length ? `, before ${percent(before)}` : ""}`
        : "";
    }
    const output = find("output", filter);
    output.textContent = `${shown.length} of the ${output.dataset.images} images`;
  }

  if (filter) {
    filter.hidden = false;
    filter.addEventListener("input", ({ target }) => {
      const first = target.name === "order" && target.selectedIndex === 0;
      change({ [target.name]: first ? "" : target.value }, { place: "pictures" });
    });
    filter.addEventListener("reset", (event) => {
      event.preventDefault();
      change(Object.fromEntries(all("select", filter).map(({ name }) => [name, ""])), { place: "pictures" });
    });
    for (const link of all("a[data-settings]")) {
      link.hash = `pictures&${link.dataset.settings}`;
    }
  }

  // Two pictures of a row: view=RECORD, left=COLUMN, right=COLUMN, divider=PERCENT.
  const viewer = find("#viewer");
  const stage = viewer && find(".stage", viewer);
  const divider = viewer && find("[name=divider]", viewer);

  function moveDivider(value) {
    divider.value = value;
    stage.style.setProperty("--divider", `${divider.value}%`);
  }

  function showCompared(settings) {
    const example = examples.find(({ element }) => element.id === `picture-${settings.get("view")}`);
    if (!example) {
      if (viewer.open) viewer.close();
      return;
    }
    const images = all("img", example.element);
    const usual = example.before.length ? { left: 2, right: 3 } : { left: 0, right: 2 };
    for (const [side, place] of Object.entries(usual)) {
      const select = find(`[name=${side}]`, viewer);
      select.value = settings.get(side) ?? "";
      if (select.selectedIndex < 0) select.selectedIndex = place;
    }
    const [left, right] = all("select", viewer).map((select) => images[select.selectedIndex].cloneNode());
    stage.replaceChildren(left, right);
    viewer.style.setProperty("--ratio", left.width / left.height);
    find("h3", viewer).textContent = find("h3", example.element).firstChild.textContent;
    find(".facts", viewer).textContent = find(".facts", example.element).textContent;
    moveDivider(settings.get("divider") ?? 50);
    if (viewer.open) return;
    viewer.showModal();
    divider.focus();
  }

  function open({ element }, changes = {}) {
    change({ view: element.id.slice("picture-".length), ...changes }, { place: "pictures", back: true });
  }

  function turn(step) {
    const place = shown.findIndex(({ element }) => element.id === `picture-${address().settings.get("view")}`);
    const next = shown.at((place + step) % shown.length) ?? examples[0];
    change({ view: next.element.id.slice("picture-".length) });
  }

  for (const example of examples) {
    const heading = find("h3", example.element);
    const label = `Compare the pictures of ${heading.firstChild.textContent}`;
    const button = Object.assign(document.createElement("button"), { textContent: "Compare", ariaLabel: label });
    button.addEventListener("click", () => open(example));
    heading.after(button);
    example.ofClass = find(".facts", example.element).appendChild(document.createElement("span"));
    all("figure", example.element).forEach((figure, place) => {
      figure.classList.add("opens");
      const usual = place === 0 || place === (example.before.length ? 3 : 2);
      find("img", figure).addEventListener("click", () => open(example, usual ? {} : { left: "0", right: `${place}` }));
    });
  }

  if (viewer) {
    const point = ({ clientX }) => {
      const { left, width } = stage.getBoundingClientRect();
      moveDivider((100 * (clientX - left)) / width);
    };
    const keep = () => change({ divider: divider.value });
    stage.addEventListener("pointerdown", (event) => {
      stage.setPointerCapture(event.pointerId);
      point(event);
    });
    stage.addEventListener("pointermove", (event) => event.buttons && point(event));
    stage.addEventListener("pointerup", keep);
    divider.addEventListener("input", () => moveDivider(divider.value));
    divider.addEventListener("change", keep);
    for (const select of all("select", viewer)) {
      select.addEventListener("input", () => change({ [select.name]: select.value }));
    }
    for (const button of all("button", viewer)) {
      button.addEventListener("click", () => (Number(button.value) ? turn(Number(button.value)) : viewer.close()));
    }
    viewer.addEventListener("keydown", (event) => {
      const step = { PageUp: -1, PageDown: 1 }[event.key];
      if (!step || event.target.localName === "select") return;
      event.preventDefault();
      turn(step);
    });
    viewer.addEventListener("close", () => change({ view: "", left: "", right: "", divider: "" }));
  }

  addEventListener("hashchange", follow);
  follow();
}
