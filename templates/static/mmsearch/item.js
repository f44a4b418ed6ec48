// Follows a pending item until it is indexed or failed, then shows the page anew.
(() => {
  const watched = document.querySelector("[data-watch]");
  const look = async () => {
    try {
      const answer = await fetch(watched.dataset.watch, { headers: { Accept: "application/json" } });
      if (answer.ok && (await answer.json()).state !== "pending") return location.reload();
    } catch {
      // The server is restarting; the next look will tell.
    }
    setTimeout(look, 1000);
  };
  setTimeout(look, 500);
})();
