"use strict";
(() => {
  const specs = JSON.parse(document.getElementById("charts").textContent);
  const options = {
    actions: false,
    renderer: "svg",
    mode: "vega-lite",
    tooltip: { disableDefaultStyle: true, offsetX: 14, offsetY: 14 },
  };
  const drawn = new Map();

  // On a telephone names stand below each other, and end in dots before they run out of the card.
  function narrowed(spec, width) {
    const { legend, axis } = spec.config;
    const limited = {
      legend: { ...legend, columns: 1, labelLimit: width - 110 },
      axis: { ...axis, labelLimit: 0.42 * width },
    };
    return { ...spec, config: { ...spec.config, ...limited } };
  }

  function draw(place) {
    const spec = specs[place.id];
    const width = place.clientWidth;
    const narrow = width < 440;
    if (drawn.get(place.id) === narrow) return;
    drawn.set(place.id, narrow);
    vegaEmbed(place, narrow ? narrowed(spec, width) : spec, options).then(
      () => {
        if (drawn.size === 1) performance.mark("first-chart");
        place.style.minHeight = "";
        place.dataset.drawn = "yes";
      },
      (error) => { place.textContent = `This chart cannot be drawn: ${error.message}`; },
    );
  }

  // What one sees comes first; the rest while nobody waits, so that a print has all of them.
  const places = [...document.querySelectorAll("figure.chart")];
  const watch = new IntersectionObserver(
    (seen) => seen.filter((one) => one.isIntersecting).forEach((one) => draw(one.target)),
    { rootMargin: "400px" },
  );
  places.forEach((place) => watch.observe(place));
  const idle = window.requestIdleCallback || ((act) => setTimeout(act, 30));
  const rest = [...places];
  const next = () => { const place = rest.shift(); if (place) { draw(place); idle(next); } };
  window.addEventListener("load", () => idle(next));
  window.addEventListener("resize", () => places.filter((one) => drawn.has(one.id)).forEach(draw));
  window.addEventListener("beforeprint", () => places.forEach(draw));

  // Colours: as the system has them, light, dark.
  const names = ["auto", "light", "dark"];
  const button = document.getElementById("theme");
  let theme = "auto";
  try { theme = localStorage.getItem("lefcache-theme") || "auto"; } catch { /* a file may keep nothing */ }
  function show() {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    button.querySelector("span").textContent = theme;
    button.setAttribute("aria-label", `Colours: ${theme === "auto" ? "as the system has them" : theme}`);
  }
  button.addEventListener("click", () => {
    theme = names[(names.indexOf(theme) + 1) % names.length];
    try { localStorage.setItem("lefcache-theme", theme); } catch { /* the same */ }
    show();
  });
  if (!names.includes(theme)) theme = "auto";
  show();

  // Commands to copy; a page from a file may have no clipboard of its own.
  const said = document.getElementById("said");
  async function copied(text) {
    try { await navigator.clipboard.writeText(text); return true; } catch { /* the old way, then */ }
    const area = document.createElement("textarea");
    area.value = text;
    area.style.position = "fixed";
    area.style.opacity = "0";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
  document.addEventListener("click", async (event) => {
    const from = event.target.closest(".copy");
    if (!from) return;
    const done = await copied(from.dataset.copy);
    from.textContent = done ? "copied" : "select it";
    said.textContent = done ? "The command is copied." : "Copying is not possible here.";
    setTimeout(() => { from.textContent = "copy"; }, 1500);
  });

  // The contents show where one is.
  const links = new Map(
    [...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]),
  );
  const spy = new IntersectionObserver((seen) => {
    for (const one of seen) {
      if (!one.isIntersecting) continue;
      links.forEach((link) => link.removeAttribute("aria-current"));
      links.get(one.target.id)?.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-15% 0px -75% 0px" });
  document.querySelectorAll("main > section").forEach((section) => spy.observe(section));
})();
