/* Fetches the live part of the page anew every few seconds. Without it, the page works all the same.

   It rests while the page is hidden, while text in it is selected, and when told to. What changes is put in
   place without any movement; only changes of a state are announced, politely, to screen readers. */

"use strict";

(() => {
  const live = document.getElementById("rwrouter-live");
  const box = document.getElementById("rwrouter-refresh");
  if (!live || !box) return;
  const words = box.dataset;
  const state = document.getElementById("rwrouter-refresh-state");
  const announcement = document.getElementById("rwrouter-announcement");
  const button = box.querySelector("button");
  const address = new URL(window.location.href);
  address.searchParams.set("fragment", "1");
  address.hash = "";
  let paused = false;
  let stopped = false;
  let timer = 0;

  function states(root) {
    const found = new Map();
    for (const each of root.querySelectorAll("[data-rwrouter-key]")) {
      found.set(each.dataset.rwrouterKey, [each.dataset.rwrouterState, each.dataset.rwrouterSay]);
    }
    return found;
  }

  function announce(before, after) {
    const changes = [];
    for (const [key, [value, text]] of after) {
      if (before.has(key) && before.get(key)[0] !== value) changes.push(text);
    }
    if (changes.length) announcement.textContent = changes.join(". ");
  }

  /* What a person has done to the part that is replaced: opened, scrolled, focused. */
  function keep() {
    const opened = new Map();
    for (const each of live.querySelectorAll("details[id]")) opened.set(each.id, each.open);
    const scrolled = [...live.querySelectorAll(".rwrouter-scroll[id]")].map(
      (each) => [each.id, each.scrollLeft, each.scrollTop],
    );
    const focused = live.contains(document.activeElement) ? document.activeElement.id : "";
    return () => {
      for (const [id, open] of opened) {
        const each = document.getElementById(id);
        if (each) each.open = open;
      }
      for (const [id, left, top] of scrolled) {
        const each = document.getElementById(id);
        if (each) each.scrollTo({ left, top, behavior: "instant" });
      }
      if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    };
  }

  function isInUse() {
    const selection = document.getSelection();
    if (selection && !selection.isCollapsed && live.contains(selection.anchorNode)) return true;
    const active = document.activeElement;
    if (!live.contains(active)) return false;
    // A form that is being filled in, or something that could not be found again afterwards.
    return active.matches("input, select, textarea") || !active.id;
  }

  async function refresh() {
    if (isInUse()) return;
    const response = await fetch(address, { redirect: "manual", cache: "no-store", credentials: "same-origin" });
    if (response.type === "opaqueredirect" || response.status === 403) {
      stopped = true; // Logged out, or no longer allowed to see it.
      return;
    }
    if (!response.ok) throw new Error(String(response.status));
    const text = await response.text();
    if (paused || isInUse()) return;
    const fresh = new DOMParser().parseFromString(text, "text/html").body;
    const restore = keep();
    const before = states(live);
    live.replaceChildren(...fresh.childNodes);
    restore();
    announce(before, states(live));
  }

  function wait() {
    window.clearTimeout(timer);
    if (!paused && !stopped && !document.hidden) timer = window.setTimeout(tick, 1000 * Number(words.seconds));
  }

  async function tick() {
    try {
      await refresh();
      show("");
    } catch {
      show(words.failed);
    }
    if (stopped) {
      show(words.stopped);
      button.hidden = true;
    }
    wait();
  }

  function show(text) {
    if (state.textContent !== text) state.textContent = text;
  }

  button.addEventListener("click", () => {
    paused = !paused;
    button.textContent = paused ? words.resume : words.pause;
    if (paused) wait();
    else tick();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden || paused || stopped) wait();
    else tick();
  });
  button.textContent = words.pause;
  box.hidden = false;
  wait();
})();
