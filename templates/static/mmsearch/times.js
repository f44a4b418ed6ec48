// Tells times in the zone of whoever looks; without scripts they stay in UTC.
(() => {
  const words = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  for (const time of document.querySelectorAll("time[datetime]")) {
    time.title = time.dateTime;
    time.textContent = words.format(new Date(time.dateTime));
  }
})();
