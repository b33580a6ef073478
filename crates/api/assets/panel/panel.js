// What the administrators' pages do beyond links and forms: charts, and actions that are asked about first.
"use strict";

const charts = [];

function colour(name) {
  // `light-dark()` has to be resolved by the browser: a probe takes the colour on.
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const resolved = getComputedStyle(probe).color;
  probe.remove();
  return resolved;
}

function draw() {
  charts.splice(0).forEach((chart) => chart.destroy());
  const [text, line] = [colour("--quiet"), colour("--line")];
  for (const place of document.querySelectorAll("[data-chart]")) {
    const { type, labels, sets, sideways, money } = JSON.parse(place.dataset.chart);
    const canvas = document.createElement("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", place.dataset.title);
    place.replaceChildren(canvas);
    const datasets = sets.map(({ label, values, tone, type: own, axis }) => ({
      label,
      data: values,
      type: own ?? type,
      yAxisID: sideways ? undefined : (axis ?? "y"),
      backgroundColor: colour(tone),
      borderColor: colour(tone),
      borderWidth: (own ?? type) === "line" ? 2 : 0,
      borderRadius: 4,
      maxBarThickness: 36,
      pointRadius: 0,
      pointHitRadius: 12,
      tension: 0.25,
    }));
    const scale = (extra) => ({
      beginAtZero: true,
      ticks: { color: text, maxRotation: 0, autoSkip: true, precision: 0 },
      grid: { color: line },
      border: { display: false },
      ...extra,
    });
    const second = datasets.some((set) => set.yAxisID === "y1");
    const scales = sideways
      ? { x: scale({}), y: scale({ grid: { display: false } }) }
      : {
          x: scale({ grid: { display: false } }),
          y: scale({}),
          ...(second ? { y1: scale({ position: "right", grid: { display: false } }) } : {}),
        };
    const said = (item) => {
      const value = sideways ? item.parsed.x : item.parsed.y;
      const shown = money?.includes(item.dataset.label) ? value.toFixed(2) : value;
      return `${item.dataset.label}: ${shown}`;
    };
    charts.push(
      new Chart(canvas, {
        type,
        data: { labels, datasets },
        options: {
          indexAxis: sideways ? "y" : "x",
          animation: false,
          maintainAspectRatio: false,
          interaction: { mode: "index", axis: sideways ? "y" : "x", intersect: false },
          plugins: {
            legend: { display: datasets.length > 1, labels: { color: text, boxWidth: 12 } },
            tooltip: { callbacks: { label: said } },
          },
          scales,
        },
      }),
    );
  }
}

function say(text) {
  const toast = document.getElementById("toast");
  toast.textContent = text;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => (toast.textContent = ""), 6000);
}

function answered(request) {
  try {
    return JSON.parse(request.responseText);
  } catch {
    return {};
  }
}

// One dialog asks about every action: the button says what is called, and which fields are asked for.
function ask(button) {
  const dialog = document.getElementById("ask");
  const form = dialog.querySelector("form");
  const { method, url, title, text, fields, send, danger } = button.dataset;
  for (const verb of ["put", "post", "delete"]) form.removeAttribute(`hx-${verb}`);
  form.setAttribute(`hx-${method}`, url);
  form.setAttribute("hx-vals", send);
  dialog.querySelector("h2").textContent = title;
  dialog.querySelector("[data-text]").textContent = text ?? "";
  dialog.querySelector(".fault").textContent = "";
  const go = form.querySelector("[type=submit]");
  go.textContent = button.textContent.trim();
  go.classList.toggle("danger", danger !== undefined);
  const place = form.querySelector("[data-fields]");
  place.replaceChildren();
  for (const { name, label, needed } of JSON.parse(fields ?? "[]")) {
    const wrap = document.createElement("label");
    const input = document.createElement("input");
    Object.assign(input, { name, required: needed, maxLength: 500, autocomplete: "off" });
    wrap.append(label, input);
    place.append(wrap);
  }
  htmx.process(form);
  dialog.showModal();
}

function refresh() {
  return htmx.ajax("GET", location.href, { target: "#main", select: "#main", swap: "outerHTML" });
}

document.addEventListener("click", (event) => {
  const act = event.target.closest("[data-act]");
  if (act) ask(act);
  if (event.target.closest("[data-close]")) event.target.closest("dialog").close();
});

document.addEventListener("htmx:afterRequest", (event) => {
  const { elt, successful, xhr } = event.detail;
  const form = elt.closest("form[data-then]");
  if (!form) {
    if (!successful) say(xhr?.status ? `The server answered ${xhr.status}` : "The server cannot be reached");
    return;
  }
  const { message, errors } = answered(xhr);
  if (!successful) {
    const details = (errors ?? []).map((one) => `${one.field} ${one.message}`).join(", ");
    const why = [message ?? "The server cannot be reached", details].filter(Boolean).join(": ");
    form.querySelector(".fault").textContent = why;
    return;
  }
  if (form.dataset.then === "refresh") {
    form.closest("dialog")?.close();
    say(message ?? "Done");
    refresh();
  } else {
    location.assign(form.dataset.then);
  }
});

document.addEventListener("htmx:afterSettle", draw);

document.addEventListener("keydown", (event) => {
  const search = document.querySelector("input[type=search]");
  if (event.key !== "/" || !search || event.target.closest("input, textarea, select")) return;
  event.preventDefault();
  search.focus();
});

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
draw();
