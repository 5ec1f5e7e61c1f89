// All that pages do in the browser beside htmx. Without it they work, and stand still.
"use strict";
(() => {
  const body = document.body;
  const seconds = Number(body.dataset.refresh) || 5;
  let paused = false;

  // Live parts listen to "tick". There is none while the page is hidden or paused, or while the
  // visitor has marked a row.
  const marks = () => [...document.querySelectorAll("[data-mark]")];
  const tick = () => {
    if (!paused && !document.hidden && !marks().some((mark) => mark.checked)) {
      htmx.trigger(body, "tick");
    }
  };
  setInterval(tick, seconds * 1000);
  document.addEventListener("visibilitychange", () => { tick(); streams.forEach(follow); });

  // Relative times.
  const units = [["d", 86400], ["h", 3600], ["min", 60]];
  const renew = () => {
    for (const time of document.querySelectorAll("time[data-ago]")) {
      const age = (Date.now() - Date.parse(time.dateTime)) / 1000;
      const unit = units.find(([, length]) => age >= length);
      time.textContent = unit ? `${Math.floor(age / unit[1])} ${unit[0]} ago` : "just now";
    }
  };
  setInterval(renew, 15000);

  // Live lists: <tbody data-live="/events/live" data-last="910223" data-most="100">. What comes is put
  // in place once for each frame, however many messages that are, and never more than the list shows.
  // Live parts that are stirred: <section id="list" data-stir="/deployments/live">.
  const streams = [...document.querySelectorAll("[data-live], [data-stir]")];
  const told = document.querySelector("[data-tail]");
  const period = 3000;
  let arrived = [];  // when, and how many
  let skipped = 0;
  const number = (many) => many.toLocaleString("en");
  const show = (list) => {
    const made = document.createElement("template");
    made.innerHTML = list.queue.reverse().join("");
    list.queue = null;
    const most = Number(list.dataset.most) || 100;
    let events = 0;
    [...made.content.children].forEach((row, at) => {
      const left = Number(row.dataset.skipped) || 0;
      skipped += left;
      events += left || 1;
      // Beyond what the list shows; or in it already, as the page was made after the stream began.
      if (at >= most || (row.id && document.getElementById(row.id))) row.remove();
    });
    arrived.push([Date.now(), events]);
    list.prepend(made.content);
    while (list.children.length > most) list.lastElementChild.remove();
  };
  const stir = (part) => {  // twice a second at most
    if (part.stirring) return;
    part.stirring = setTimeout(() => {
      part.stirring = 0;
      const now = document.getElementById(part.id);
      if (now && !paused && !document.hidden) htmx.trigger(now, "stir");
    }, 500);
  };
  const follow = (list) => {
    const wanted = !paused && !document.hidden;
    if (!wanted && list.source) { list.source.close(); list.source = null; }
    if (!wanted || list.source) return;
    const path = list.dataset.live || list.dataset.stir;
    const place = list.dataset.last;
    const source = new EventSource(
      place ? `${path}${path.includes("?") ? "&" : "?"}after=${place}` : path);
    list.source = source;
    list.dispatchEvent(new CustomEvent("stream", { detail: source }));  // for other kinds of messages
    source.onmessage = (message) => {
      list.dataset.last = message.lastEventId;
      if (list.dataset.stir) { stir(list); return; }
      if (!list.queue) { list.queue = []; requestAnimationFrame(() => show(list)); }
      list.queue.push(message.data);
    };
    source.onopen = () => list.removeAttribute("data-lost");
    source.onerror = () => {
      list.setAttribute("data-lost", "");
      if (source.readyState !== EventSource.CLOSED) return;  // it tries again by itself
      list.source = null;
      setTimeout(() => follow(list), seconds * 1000);
    };
  };
  streams.forEach(follow);
  if (told) setInterval(() => {
    const since = Date.now() - period;
    arrived = arrived.filter(([at]) => at > since);
    const rate = arrived.reduce((sum, [, events]) => sum + events, 0) * 1000 / period;
    const lost = streams.some((list) => list.hasAttribute("data-lost"));
    const state = paused ? "paused" : lost ? "no connection: trying again" : "live";
    told.textContent = `${state} · ${number(Math.round(rate))}/s`
      + (skipped ? ` · ${number(skipped)} left out` : "");
  }, 1000);

  // Pause.
  for (const button of document.querySelectorAll("[data-pause]")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      paused = !paused;
      button.setAttribute("aria-pressed", String(paused));
      button.textContent = paused ? "Go on" : "Pause";
      streams.forEach(follow);
      tick();
    });
  }

  // Marking all rows of a list by its first box.
  body.addEventListener("change", (event) => {
    if (!("markAll" in event.target.dataset)) return;
    for (const mark of marks()) mark.checked = event.target.checked;
  });

  // The time zone of this browser, where a page can show its times in another one.
  const own = document.querySelector("[data-own-zone]");
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (own && zone && zone !== own.dataset.ownZone) {
    const here = new URL(location.href);
    here.searchParams.set("zone", zone);
    own.href = here.href;
    own.textContent = `Use ${zone}, as this browser does`;
    own.hidden = false;
  }

  // A lost connection, or a service that can't answer: the page says so instead of showing what is
  // old as if it were new. One part that is renewed does not speak for the others.
  const lost = document.querySelector("[data-offline]");
  const stale = new Set();  // the ids of live parts that could not be renewed
  const tell = (event, isStale) => {
    stale[isStale ? "add" : "delete"](event.detail.elt.id);
    if (lost) lost.hidden = stale.size === 0;
  };
  body.addEventListener("htmx:sendError", (event) => tell(event, true));
  body.addEventListener("htmx:timeout", (event) => tell(event, true));
  body.addEventListener("htmx:afterOnLoad", (event) => tell(event, event.detail.xhr.status >= 500));

  // A form is sent once; the server would know the second one by its key, too.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post") return;
    if (form.dataset.sent) { event.preventDefault(); return; }
    form.dataset.sent = "1";
    const button = event.submitter;
    if (button) setTimeout(() => { button.disabled = true; });
  });
  window.addEventListener("pageshow", () => {  // by the back button
    for (const form of document.querySelectorAll("form[data-sent]")) {
      delete form.dataset.sent;
      for (const button of form.querySelectorAll("button:disabled")) button.disabled = false;
    }
  });

  // Keys: "/" goes to the search, "g o" to orders, "?" shows them all.
  const help = document.getElementById("keys");
  let began = 0;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, select, textarea")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (event.key === "/") {
      const search = document.querySelector("[data-search]");
      if (search) { event.preventDefault(); search.focus(); }
    } else if (event.key === "?" && help) {
      help.open ? help.close() : help.showModal();
    } else if (event.key === "g") {
      began = Date.now();
    } else if (Date.now() - began < 1500) {
      const link = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
      began = 0;
      if (link) link.click();
    }
  });
})();
