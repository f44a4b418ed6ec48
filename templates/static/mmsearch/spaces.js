// Progress stays fresh: the page's own table is fetched again, unless somebody is about to press.
(() => {
  const EVERY = 2000;
  const renew = async () => {
    const shown = document.getElementById("spaces");
    if (document.hidden || shown.querySelector("details[open]")) return;
    const answer = await fetch(location.href, { credentials: "same-origin" });
    if (!answer.ok || answer.redirected) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("spaces");
    if (fresh && !shown.contains(document.activeElement)) shown.replaceWith(fresh);
  };
  setInterval(() => renew().catch(() => {}), EVERY);
})();
