// Live updates: when the server reports a change the page is fetched again, and what differs is put in its place.
"use strict";
(() => {
  const root = document.body.dataset.root, live = document.getElementById("live");
  const STALE_MS = 20000, SOONEST_MS = 700;
  let events = null, last = performance.now(), planned = 0, fetching = false, again = false;

  const show = (state, text) => {
    if (live.dataset.state !== state) { live.dataset.state = state; live.textContent = text; live.hidden = false; }
  };

  // Makes `into` equal to `from`, so that focus, selection and open lists of the reader stay.
  const morph = (into, from) => {
    if (into.nodeType !== from.nodeType || into.nodeName !== from.nodeName) { into.replaceWith(from.cloneNode(true)); return; }
    if (into.nodeType !== Node.ELEMENT_NODE) { if (into.nodeValue !== from.nodeValue) into.nodeValue = from.nodeValue; return; }
    if (into.nodeName === "FORM") return;
    for (const { name } of [...into.attributes]) if (!from.hasAttribute(name)) into.removeAttribute(name);
    for (const { name, value } of [...from.attributes]) if (into.getAttribute(name) !== value) into.setAttribute(name, value);
    const theirs = [...from.childNodes], ours = [...into.childNodes];
    theirs.forEach((node, at) => at < ours.length ? morph(ours[at], node) : into.append(node.cloneNode(true)));
    ours.slice(theirs.length).forEach((node) => node.remove());
  };

  const refresh = async () => {
    if (fetching) { again = true; return; }
    fetching = true; last = performance.now();
    try {
      const response = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      const main = page.getElementById("main");
      if (main) {
        morph(document.getElementById("main"), main);
        document.title = page.title;
        const foot = page.querySelector("footer");
        if (foot) morph(document.querySelector("footer"), foot);
      }
    } catch { show("off", "Not connected"); } finally {
      fetching = false;
      if (again) { again = false; plan(); }
    }
  };
  const plan = () => {
    if (planned || document.hidden) return;
    const wait = Math.max(SOONEST_MS - (performance.now() - last), 0);
    planned = setTimeout(() => { planned = 0; refresh(); }, wait);
  };

  const open = () => {
    if (events || document.hidden) return;
    events = new EventSource(root + "events");
    events.addEventListener("open", () => { show("on", "Live"); plan(); });
    events.addEventListener("changed", plan);
    events.addEventListener("error", () => {
      show("off", "Not connected");
      if (events && events.readyState === EventSource.CLOSED) { events = null; setTimeout(open, 10000); }
    });
  };
  const close = () => { if (events) { events.close(); events = null; } };

  // A hidden page holds no connection: a browser opens six to one server.
  document.addEventListener("visibilitychange", () => { if (document.hidden) close(); else { plan(); open(); } });
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => { if (event.persisted) { plan(); open(); } });
  setInterval(() => { if (performance.now() - last > STALE_MS) plan(); }, 5000);  // ages grow

  document.addEventListener("change", (event) => { if (event.target.matches("form.filter select")) event.target.form.requestSubmit(); });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || /INPUT|SELECT|TEXTAREA/.test(document.activeElement.nodeName)) return;
    const search = document.querySelector("input[type=search]");
    if (search) { event.preventDefault(); search.focus(); search.select(); }
  });
  document.addEventListener("submit", (event) => {  // an address without what was left empty
    for (const field of event.target.elements) if (field.name && !field.value) field.disabled = true;
  });
  open();
})();
