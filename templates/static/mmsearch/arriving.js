// Tells how far the indexing is while items come in; the first page shows them once some are there.
(() => {
  const EVERY = 2000;
  const first = new URL(document.querySelector(".brand").href);
  const renew = async () => {
    if (document.hidden) return true;
    const answer = await fetch(first, { credentials: "same-origin" });
    if (!answer.ok || answer.redirected) return true;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const renewed = (id) => {
      const [now, fresh] = [document, page].map((each) => each.getElementById(id));
      if (now && fresh && !now.contains(document.activeElement)) now.replaceWith(fresh);
    };
    renewed("arriving");
    const goesOn = document.getElementById("arriving").hasChildNodes();
    const isFirst = location.href === first.href;
    if (isFirst && !(goesOn && document.querySelector(".tile"))) renewed("shown");
    return goesOn;
  };
  const follow = () =>
    setTimeout(async () => {
      if (await renew().catch(() => true)) follow();
    }, EVERY);
  follow();
})();
