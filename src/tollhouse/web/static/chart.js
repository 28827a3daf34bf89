/* Draws the charts of a page, in the colours of its theme; again when their figures or the theme change. */

const views = new Map();

function themed(spec) {
  const style = getComputedStyle(document.documentElement);
  const [ink, line] = ["--muted", "--line"].map((name) => style.getPropertyValue(name).trim());
  const font = getComputedStyle(document.body).fontFamily;
  return {
    ...spec,
    background: null,
    config: {
      font,
      view: { stroke: null },
      axis: { labelColor: ink, gridColor: line, domainColor: line, labelFontSize: 12 },
      legend: { labelColor: ink, labelFontSize: 13, symbolType: "square" },
    },
  };
}

async function draw(figure) {
  const spec = themed(JSON.parse(figure.querySelector("script").textContent));
  const space = figure.querySelector(".chart-space");
  views.get(figure)?.finalize();
  // `ast` has Vega interpret its expressions: the pages' policy allows no code that is made while they run.
  const { view } = await window.vegaEmbed(space, spec, { actions: false, ast: true, defaultStyle: false, renderer: "canvas", tooltip: { disableDefaultStyle: true } });
  views.set(figure, view);
  const canvas = space.querySelector("canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${figure.querySelector("figcaption").textContent}. The table has the figures.`);
}

const drawAll = () => document.querySelectorAll("[data-chart]").forEach(draw);

document.addEventListener("figures", (event) => draw(event.target));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
drawAll();
