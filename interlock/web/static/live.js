// Swaps the live parts when the change moves. Without this script the page is whole, as of loading.
const live = document.getElementById("live");
if (live && window.EventSource) {
  let seen = live.dataset.version;
  new EventSource(live.dataset.events).onmessage = async ({ data }) => {
    if (data === seen) return;
    const answer = await fetch(live.dataset.live);
    if (!answer.ok) return;
    const fresh = document.createElement("template"), focus = document.activeElement.id;
    fresh.innerHTML = await answer.text();
    for (const part of [...fresh.content.querySelectorAll("[data-part]")])
      live.querySelector(`[data-part=${part.dataset.part}]`).replaceWith(part);
    document.getElementById(focus)?.focus();
    seen = data;
  };
}
