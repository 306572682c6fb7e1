"use strict";
// All that pages do by script; every one of them works without it.
//
// [data-live=URL]   is filled anew every few seconds while the page is looked at and something changes.
// [data-copy=ID]    copies the text of an element.

const EVERY = 5000;
const PATIENCE = 60000;

function keepFresh(place) {
  let tag = null;
  let pause = EVERY;

  async function look() {
    if (document.visibilityState === "visible") await refresh();
    if (place.isConnected && place.dataset.live) setTimeout(look, pause);
  }

  async function refresh() {
    try {
      const headers = tag ? { "If-None-Match": tag } : {};
      const answer = await fetch(place.dataset.live, { headers, cache: "no-store" });
      pause = EVERY;
      if (answer.headers.get("X-Live") === "ended") delete place.dataset.live;
      if (answer.status === 401) location.reload();
      if (!answer.ok) return;
      if (put(await answer.text())) tag = answer.headers.get("ETag");
      if (!place.dataset.live) location.reload();
    } catch {
      pause = Math.min(2 * pause, PATIENCE); // the server is away: ask less often
    }
  }

  function put(html) {
    // Whoever reads inside with the keyboard or has marked text is not interrupted.
    const chosen = getSelection();
    const marked = chosen.rangeCount && !chosen.isCollapsed && place.contains(chosen.anchorNode);
    if (marked || place.contains(document.activeElement)) return false;
    const open = [...place.querySelectorAll("details")].map((one) => one.open);
    const scrolled = [...place.querySelectorAll(".scroll")].map((one) => one.scrollLeft);
    const fresh = new DOMParser().parseFromString(html, "text/html");
    place.replaceChildren(...fresh.body.childNodes);
    place.querySelectorAll("details").forEach((one, n) => { one.open = open[n] ?? false; });
    place.querySelectorAll(".scroll").forEach((one, n) => { one.scrollLeft = scrolled[n] ?? 0; });
    return true;
  }

  setTimeout(look, EVERY);
}

async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent);
  } catch {
    getSelection().selectAllChildren(source); // no clipboard without TLS: mark it, and try the old way
    if (!document.execCommand("copy")) return;
  }
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

for (const place of document.querySelectorAll("[data-live]")) keepFresh(place);
for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", () => copy(button));
}
