// Search, keys, order and deep links; every page can be read without them. Names of files and layers are inserted as text, never as HTML.
"use strict";
(() => {
  const up = document.body.dataset.up;
  const form = document.querySelector("form[role=search]");
  const box = form.elements.find;
  const message = document.getElementById("told"); // on the first page only
  form.hidden = false;

  function make(tag, text, attributes = {}, children = []) {
    const element = document.createElement(tag);
    element.textContent = text;
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  // --- keys: arrows walk, Escape goes up ---

  const walkLinks = () => [...document.querySelectorAll("[data-walk]")];

  // Return the index of the link that an arrow key leads to from `current`, -1 from none; up and down stay in their column.
  function nextIndex(key, links, current) {
    if (current < 0) return key === "ArrowRight" || key === "ArrowDown" ? 0 : -1;
    if (key === "ArrowRight") return current + 1;
    if (key === "ArrowLeft") return current - 1;
    const from = links[current].getBoundingClientRect();
    const down = key === "ArrowDown";
    const isBeyond = (link) => {
      const to = link.getBoundingClientRect();
      return (down ? to.top >= from.bottom - 1 : to.bottom <= from.top + 1) && Math.abs(to.left - from.left) < 2;
    };
    return down
      ? links.findIndex((link, index) => index > current && isBeyond(link))
      : links.findLastIndex((link, index) => index < current && isBeyond(link));
  }

  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== "checkbox") return;
    if (event.key === "Escape") {
      document.querySelector("[data-up-link]")?.click();
      return;
    }
    if (!/^Arrow/.test(event.key)) return;
    const neighbour = { ArrowLeft: "a[rel=prev]", ArrowRight: "a[rel=next]" }[event.key];
    if (document.querySelector("a[rel=prev], a[rel=next]")) {
      if (neighbour) document.querySelector(neighbour)?.click();
      return;
    }
    const links = walkLinks();
    const current = links.indexOf(document.activeElement);
    if (current < 0 && /Up|Down/.test(event.key)) return; // scroll the page, until a link has the focus
    const next = links[nextIndex(event.key, links, current)];
    if (!next) return;
    event.preventDefault();
    next.focus();
    next.scrollIntoView({ block: "nearest" });
  });

  // --- the order on a layer's page ---

  const channels = document.querySelector(".channels");
  if (channels) {
    const order = document.getElementById("order");
    document.querySelector(".order").hidden = false;
    const rows = [...channels.children];
    const sortKeys = {
      number: (row) => Number(row.dataset.number),
      maximum: (row) => -(Number.isFinite(Number(row.dataset.maximum)) ? Number(row.dataset.maximum) : -Infinity),
      fires: (row) => Number(row.dataset.fires),
    };
    const compare = (key, first, second) => sortKeys[key](first) - sortKeys[key](second);
    const sort = () => channels.append(...rows.sort((first, second) => compare(order.value, first, second) || compare("number", first, second)));
    order.addEventListener("change", sort);
    if (order.value !== "number") sort(); // browsers restore the choice when a page is visited again
  }
  if (!message) return;

  // --- the first page: deep links such as #features.10:151 ---

  const layers = [...document.querySelectorAll("[data-layer]")];

  function follow() {
    let hash = location.hash.slice(1);
    try { hash = decodeURIComponent(hash); } catch { /* a % that escapes nothing is kept */ }
    if (!hash || document.getElementById(hash)) return;
    const whole = layers.find((link) => link.dataset.layer === hash);
    const [, name, number] = /^(.*)[:/](\d+)$/.exec(hash) || [];
    const layer = whole || layers.find((link) => link.dataset.layer === name);
    if (whole) location.replace(whole.getAttribute("href"));
    else if (layer && Number(number) < Number(layer.dataset.channels)) location.replace(`${layer.dataset.folder}/${Number(number)}.html`);
    else message.textContent = layer ? `${name} has no channel ${number}: it has ${layer.dataset.channels}, numbered from 0.` : `This atlas has no layer ${name || hash}.`;
  }
  window.addEventListener("hashchange", follow);
  follow();

  // --- the first page: search ---

  const mostResults = 40; // of channels, and of pictures
  const section = document.getElementById("found");
  const results = document.getElementById("results");
  let loading;

  function load() {
    loading ||= new Promise((resolve, reject) => {
      const script = make("script", "", { src: `${up}find.js` });
      script.onload = () => resolve(window.atlas);
      script.onerror = () => reject(new Error("find.js"));
      document.head.append(script);
    });
    return loading;
  }

  const linkTo = (layer, channel, text) => make("a", text, { href: `${layer[1]}/${channel}.html` });

  function channelsFor(query, data) {
    const [, name, number] = /^(.*?)[\s/:]*(\d+)$/.exec(query) || [];
    const fits = (layer, text) => layer[0].toLowerCase().includes(text);
    const exact = data.layers.filter((layer) => fits(layer, query)).map((layer) => make("a", layer[0], { href: `${layer[1]}/index.html` }));
    if (number === undefined) return exact;
    const numbered = data.layers.filter((layer) => fits(layer, name) && Number(number) < layer[2]);
    return [...exact, ...numbered.map((layer) => linkTo(layer, Number(number), `${layer[0]}:${Number(number)}`))];
  }

  function pictureRow([number, path, entries], data) {
    const ofLayer = new Map();
    for (let index = 0; index < entries.length; index += 3) {
      const [layer, channel, rank] = entries.slice(index, index + 3);
      if (!ofLayer.has(layer)) ofLayer.set(layer, []);
      ofLayer.get(layer).push([rank, channel]);
    }
    const lines = [...ofLayer].map(([layer, ranked]) => {
      ranked.sort((first, second) => first[0] - second[0] || first[1] - second[1]);
      const links = ranked.map(([, channel]) => linkTo(data.layers[layer], channel, channel));
      return make("p", `${data.layers[layer][0]}: `, { class: "of" }, links.flatMap((link) => [link, " "]));
    });
    const picture = make("img", "", { src: `${up}pictures/${number}.webp`, alt: "", loading: "lazy", width: "112", height: "112" });
    return make("div", "", { class: "hit" }, [picture, make("div", "", {}, [make("h3", path), ...lines])]);
  }

  async function search() {
    const query = box.value.trim().toLowerCase();
    section.hidden = !query;
    results.replaceChildren();
    message.textContent = "";
    if (!query) return;
    let data;
    try { data = await load(); } catch { message.textContent = "The search index, find.js, cannot be read."; return; }
    if (box.value.trim().toLowerCase() !== query) return; // the query has changed meanwhile
    const words = query.split(/\s+/);
    const pictures = data.pictures.filter(([, path]) => words.every((word) => path.toLowerCase().includes(word)));
    const links = channelsFor(query, data);
    const list = make("ul", "", { class: "of" }, links.slice(0, mostResults).map((link) => make("li", "", {}, [link])));
    results.replaceChildren(list, ...pictures.slice(0, mostResults).map((picture) => pictureRow(picture, data)));
    const countText = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
    const more = Math.max(links.length, pictures.length) > mostResults ? `, the first ${mostResults} of each shown` : "";
    message.textContent = `${countText(links.length, "layer or channel").replace("layer or channels", "layers or channels")} and ${countText(pictures.length, "picture")} found for “${box.value.trim()}”${more}.`;
  }

  form.addEventListener("submit", (event) => { event.preventDefault(); search(); });
  box.addEventListener("input", search);
  const query = new URLSearchParams(location.search).get("find");
  if (query) { box.value = query; search(); }
})();
