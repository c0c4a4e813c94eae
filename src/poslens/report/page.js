"use strict";
// Draws the figures, in the colours of the reader's theme, and follows a change of theme.
(() => {
  // The figures are made in the light theme's colours; these are their counterparts on dark paper.
  const DARK = {
    "#fdfdfc": "#16181c", "#22262b": "#e4e5e3", "#6a7077": "#9aa1a9", "#e4e5e3": "#33373d",
    "rgba(106,112,119,0.28)": "rgba(160,166,173,0.32)",
    "rgba(106,112,119,0.55)": "rgba(160,166,173,0.6)",
    "#0072b2": "#56b4e9", "#d55e00": "#ff8b3d", "#009e73": "#2fc79a",
    "#cc79a7": "#e59ac4",
    // sequential
    "#46327e": "#6f63c4", "#365c8d": "#4a86c5", "#277f8e": "#2fa3b0", "#1fa187": "#4bc98c",
    "#a0bf26": "#e8e04a",
    // diverging: the middle is the paper, the ends are bright
    "#08306b": "#a8d4ff", "#2f6fb3": "#4d9be0", "#8fbde0": "#245a8e", "#f7f6f3": "#1f2227",
    "#f4b66f": "#8f4d12", "#cf6a14": "#e08a3a", "#7f2704": "#ffd3a1",
  };
  const FIGURES = JSON.parse(document.getElementById("figure-data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 44rem)");
  const touch = matchMedia("(pointer: coarse)");
  const CONFIG = {
    responsive: true,
    displaylogo: false,
    scrollZoom: false, // the wheel scrolls the page
    showTips: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d",
      "tableRotation", "resetCameraLastSave3d"],
  };

  // Plotly keeps and changes what it is given, so each drawing gets its own copy.
  const recoloured = (value, colours) => {
    if (typeof value === "string") return Object.hasOwn(colours, value) ? colours[value] : value;
    if (Array.isArray(value)) return value.map((item) => recoloured(item, colours));
    if (value === null || typeof value !== "object") return value;
    if ("bdata" in value) return { ...value };
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [key, recoloured(item, colours)]));
  };

  // A figure may bring changes of its own for a narrow page: records merge, all else is replaced.
  const merge = (target, source) => {
    for (const [key, value] of Object.entries(source)) {
      const nested = value !== null && typeof value === "object" && !Array.isArray(value);
      if (nested && target[key]) merge(target[key], value);
      else target[key] = value;
    }
  };

  let printing = false;

  const draw = (figure) => {
    const colours = dark.matches && !printing ? DARK : {};
    const data = recoloured(figure.data, colours);
    const layout = recoloured(figure.layout, colours);
    layout.uirevision = "kept"; // zoom and camera survive a change of theme
    if (narrow.matches && !printing) {
      layout.font.size = 11;
      if (layout.scene || data.some((trace) => trace.type === "heatmap")) layout.height = 420;
      if (layout.scene) {
        const eye = layout.scene.camera.eye; // from further off, so that the axes' names fit
        for (const axis of Object.keys(eye)) eye[axis] *= 1.35;
      }
      const own = (layout.meta && layout.meta.narrow) || {};
      for (const trace of data) {
        const bar = trace.colorbar || (trace.marker && trace.marker.colorbar);
        if (bar) merge(bar, { len: 0.9, ...own.colorbar });
      }
      merge(layout, own.layout || {});
    }
    // A finger that drags across a flat figure scrolls the page; the path is turned instead.
    if (touch.matches && !layout.scene) layout.dragmode = false;
    if (printing) Object.assign(layout, { width: 680, autosize: false });
    // A slider stays where the reader left it.
    const slider = layout.sliders && layout.sliders[0];
    const before = document.getElementById(figure.id).layout;
    if (!slider || !before) return Plotly.react(figure.id, data, layout, CONFIG);
    slider.active = before.sliders[0].active;
    return Plotly.react(figure.id, data, layout, CONFIG)
      .then(() => Plotly.update(figure.id, ...slider.steps[slider.active].args));
  };

  const drawAll = async () => {
    for (const figure of FIGURES) {
      await draw(figure);
      await new Promise((resolve) => setTimeout(resolve)); // the page stays responsive
    }
    document.documentElement.dataset.figures = "drawn";
  };
  const redraw = () => FIGURES.forEach((figure) => draw(figure));
  dark.addEventListener("change", redraw);
  narrow.addEventListener("change", redraw);
  // Paper is light and of its own width, whatever the screen's theme reports meanwhile.
  const print = (now) => {
    printing = now;
    redraw();
  };
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));
  drawAll();
})();
