"use strict";
// The page works without this script, which filters the gallery, enlarges cards and hides layers.
(() => {
  const PAGE = 60; // cards at first, and with each "Show more"
  document.documentElement.classList.add("js");
  const form = document.getElementById("filters");
  const viewer = document.getElementById("viewer");
  if (!form) return;

  const list = document.getElementById("cards");
  const cards = Array.from(list.children);
  const more = document.getElementById("more");
  const shown = document.getElementById("shown");
  const texts = new Map();
  let matching = cards;
  let room = PAGE;
  let at = 0;

  const text = (card) => {
    if (!texts.has(card)) texts.set(card, card.textContent.toLowerCase());
    return texts.get(card);
  };
  const has = (list, value) => (" " + list + " ").includes(" " + value + " ");
  const value = (name) => (form.elements[name] ? form.elements[name].value : "");

  function filter() {
    const wanted = { o: value("o"), c: value("c"), r: value("r") };
    const words = value("q").trim().toLowerCase();
    matching = cards.filter(
      (card) =>
        Object.entries(wanted).every(([key, one]) => one === "" || has(card.dataset[key].trim(), one)) &&
        (words === "" || text(card).includes(words)),
    );
    draw();
  }

  function draw() {
    const there = new Set(matching.slice(0, room));
    for (const card of cards) card.hidden = !there.has(card);
    more.hidden = matching.length <= room;
    more.textContent = "Show " + Math.min(PAGE, matching.length - room) + " more";
    const all = matching.length === cards.length ? "" : " of " + cards.length;
    const cut = matching.length > room ? ", first " + room + " shown" : "";
    shown.textContent = matching.length + all + " samples" + (all ? " match" : "") + cut;
  }

  function layers() {
    for (const box of form.querySelectorAll("input[type=checkbox]")) {
      document.body.classList.toggle("no-" + box.name, !box.checked);
    }
  }

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", (event) => {
    if (event.target.type === "checkbox") return layers();
    room = PAGE;
    filter();
  });
  form.addEventListener("reset", () => {
    room = PAGE;
    setTimeout(() => { layers(); filter(); });
  });
  more.addEventListener("click", () => {
    const next = matching[room];
    room += PAGE;
    draw();
    if (next) next.querySelector("button").focus();
  });

  // A "show" link beside a count sets that filter and clears the others.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a.show");
    if (!link) return;
    for (const name of ["o", "c", "r", "q"]) {
      if (form.elements[name]) form.elements[name].value = link.dataset[name] || "";
    }
    room = PAGE;
    filter();
  });

  function open(card) {
    at = matching.indexOf(card);
    const copy = card.querySelector("article").cloneNode(true);
    const heading = copy.querySelector("h3");
    document.getElementById("viewer-name").textContent = heading.textContent;
    document.getElementById("viewer-place").textContent = at + 1 + " of " + matching.length;
    heading.remove();
    const button = copy.querySelector("button.open");
    button.replaceWith(...button.childNodes);
    copy.querySelector("details").open = true;
    document.getElementById("viewer-body").replaceChildren(...copy.childNodes);
    if (!viewer.open) viewer.showModal();
    viewer.scrollTop = 0;
  }

  const step = (by) => {
    const next = matching[at + by];
    if (next) open(next);
  };
  const close = () => {
    viewer.close();
    const card = matching[at];
    if (!card) return;
    if (card.hidden) { room = at + 1; draw(); }
    card.querySelector("button").focus();
  };

  list.addEventListener("click", (event) => {
    const button = event.target.closest("button.open");
    if (button) open(button.closest(".card"));
  });
  viewer.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (event.target === viewer || (button && "close" in button.dataset)) close();
    else if (button && button.dataset.step) step(Number(button.dataset.step));
  });
  viewer.addEventListener("cancel", (event) => { event.preventDefault(); close(); });
  viewer.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "ArrowLeft") step(-1);
    else if (event.key === "ArrowRight") step(1);
    else return;
    event.preventDefault();
  });

  layers();
  filter();
})();
