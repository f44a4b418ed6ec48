// A picture may also be dropped on the page or pasted into it; choosing one searches at once.
(() => {
  const form = document.querySelector("[data-by-picture]");
  const input = form.elements.picture_file;
  const searchWith = (files) => {
    const picture = [...files].find((file) => file.type.startsWith("image/"));
    if (!picture) return;
    const chosen = new DataTransfer();
    chosen.items.add(picture);
    input.files = chosen.files;
    form.elements.q.value = document.getElementById("q").value;
    form.requestSubmit();
  };
  const dropping = (on) => document.body.classList.toggle("dropping", on);
  input.addEventListener("change", () => searchWith(input.files));
  document.addEventListener("paste", (event) => searchWith(event.clipboardData.files));
  document.addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    dropping(true);
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) dropping(false);
  });
  document.addEventListener("drop", (event) => {
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    dropping(false);
    searchWith(event.dataTransfer.files);
  });
})();
