  image() {
    const choose = make("input", { type: "file", accept: "image/*", multiple: true });
    const drop = make("div", { className: "drop" }, field("images", choose, "choose them, or drop them here"));
    form.append(drop);
    for (const [name, over] of [["dragenter", true], ["dragover", true], ["dragleave", false], ["drop", false]]) {
      drop.addEventListener(name, (event) => {
        event.preventDefault();
        drop.classList.toggle("over", over);
        if (name !== "drop" || event.dataTransfer.files.length === 0) return;
        choose.files = event.dataTransfer.files;
        form.requestSubmit();
      });
    }
    choose.addEventListener("change", () => choose.files.length && form.requestSubmit());
    return async () => {
      const files = [...choose.files];
      if (files.length === 0) return showProblems([{ field: "images", message: "choose at least one" }]);
      const cards = files.map((file) => {
        const preview = make("img", { src: URL.createObjectURL(file), alt: `preview of ${file.name}` });
        preview.addEventListener("load", () => URL.revokeObjectURL(preview.src));
        return make("div", { className: "image" }, preview, make("div", {}, make("h2", {}, file.name)));
      });
      result.replaceChildren(...cards);
      result.hidden = false;
      // One by one: a file that is refused leaves the others.
      for (const [position, file] of files.entries()) {
        const body = new FormData();
        body.append("images", file);
        const target = cards[position].lastChild;
        const response = await fetch("predict", { method: "POST", body }).catch(() => null);
        const answer = response ? await response.json().catch(() => ({})) : {};
        if (response && response.ok) target.append(show(answer[0]));
        else {
          const [problem] = answer.detail || [{ message: "the server does not answer" }];
          target.append(make("p", { className: "error", role: "alert" }, problem.message));
        }
      }
    };
  },
