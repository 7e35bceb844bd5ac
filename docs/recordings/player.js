// Plays recordings in the format of asciinema, version 2, without any other file: a pre element, a button, a slider.
// It understands what the recordings of this site contain: text, colours, line breaks, carriage returns, "erase line".
(function () {
  "use strict";
  const COLORS = { 30: "#3b4252", 31: "#e06c75", 32: "#7ec699", 33: "#e5c07b", 34: "#82aaff", 35: "#c792ea", 36: "#56b6c2",
    37: "#d8dee9", 90: "#7f8899", 91: "#ff8a95", 92: "#a5e3b5", 93: "#ffe0a3", 94: "#a9c7ff", 95: "#e0b3ff", 96: "#8fdce6" };

  function render(pre, text, height) {
    const rows = [[]];
    let style = "";
    for (const part of text.split(/(\x1b\[[\d;]*[A-Za-z]|\x1b\][^\x07]*\x07|\r\n|\n|\r)/)) {
      if (part === "\r\n" || part === "\n") rows.push([]);
      else if (part === "\r" || /^\x1b\[2?K$/.test(part)) rows[rows.length - 1] = [];
      else if (/^\x1b\[[\d;]*m$/.test(part)) {
        for (const code of part.slice(2, -1).split(";")) {
          if (code === "" || code === "0") style = "";
          else if (code === "1") style += "font-weight:bold;";
          else if (code === "2") style += "opacity:.65;";
          else if (COLORS[code]) style += `color:${COLORS[code]};`;
        }
      } else if (part && !part.startsWith("\x1b")) rows[rows.length - 1].push([style, part]);
    }
    const lines = document.createDocumentFragment();
    for (const row of rows.slice(-height)) {
      for (const [css, words] of row) {
        const span = document.createElement("span");
        span.style.cssText = css;
        span.textContent = words;
        lines.append(span);
      }
      lines.append("\n");
    }
    pre.replaceChildren(lines);
  }

  function player(box, cast) {
    const [header, ...events] = cast.trim().split("\n").map((line) => JSON.parse(line));
    const total = events[events.length - 1][0] + 2;
    const pre = document.createElement("pre"), bar = document.createElement("div");
    const button = document.createElement("button"), slider = document.createElement("input"), clock = document.createElement("span");
    pre.style.cssText = "background:#1b2230;color:#d8dee9;padding:1em;margin:0;overflow:auto;line-height:1.35;font-size:.62rem;" +
      `height:${header.height * 1.35 + 2}em`;
    bar.style.cssText = "display:flex;gap:.8em;align-items:center;padding:.4em 0";
    button.type = "button";
    slider.type = "range"; slider.min = 0; slider.max = total; slider.step = 0.1; slider.value = 0; slider.style.flex = "1";
    slider.setAttribute("aria-label", "Position in the recording");
    let at = 0, playing = false, before = 0;
    function show() {
      let text = "";
      for (const [time, , words] of events) { if (time > at) break; text += words; }
      render(pre, text, header.height);
      slider.value = at;
      clock.textContent = `${Math.floor(at / 60)}:${String(Math.floor(at % 60)).padStart(2, "0")} / ${Math.floor(total / 60)}:${String(Math.floor(total % 60)).padStart(2, "0")}`;
      button.textContent = playing ? "Pause" : "Play";
    }
    function step(now) {
      if (!playing) return;
      at += (now - before) / 1000; before = now;
      if (at >= total) { at = total; playing = false; }
      show();
      requestAnimationFrame(step);
    }
    button.addEventListener("click", () => {
      playing = !playing;
      if (playing && at >= total) at = 0;
      before = performance.now();
      show();
      if (playing) requestAnimationFrame(step);
    });
    slider.addEventListener("input", () => { at = Number(slider.value); before = performance.now(); show(); });
    bar.append(button, slider, clock);
    box.replaceChildren(pre, bar);
    at = 7;
    show();
    at = 0;
  }

  for (const box of document.querySelectorAll("[data-cast]")) {
    fetch(box.dataset.cast).then((response) => response.text()).then((cast) => player(box, cast));
  }
})();
