  text(about) {
    const { text } = about;
    const prompt = make("textarea", { value: text.example });
    const numbers = make("div", { className: "fields" });
    const controls = {};
    for (const [name, step] of [["new_tokens", 1], ["temperature", "any"], ["top_k", 1], ["seed", 1]]) {
      controls[name] = make("input", { type: "number", step, value: text[name] ?? "" });
      numbers.append(field(name, controls[name], name === "seed" ? "optional" : ""));
    }
    form.append(field("prompt", prompt), numbers);
    const stop = make("button", { type: "button", className: "plain", hidden: true }, "Stop");
    return async (actions) => {
      actions.append(stop);
      const request = { prompt: prompt.value };
      for (const [name, control] of Object.entries(controls)) {
        if (control.value !== "") request[name] = Number(control.value);
      }
      const abort = new AbortController();
      stop.onclick = () => abort.abort();
      const response = await sendJson("predict/stream", request, abort.signal);
      if (!response) return;
      stop.hidden = false;
      const continuation = make("span");
      result.replaceChildren(make("pre", {}, make("span", { className: "prompt" }, prompt.value), continuation));
      result.hidden = false;
      try {
        for (const reader = response.body.pipeThrough(new TextDecoderStream()).getReader(); ;) {
          const { done, value } = await reader.read();
          if (done) break;
          continuation.append(value);
        }
      } catch (error) {
        if (error.name !== "AbortError") showProblems([{ message: "the server stopped in the middle of the text" }]);
      } finally {
        stop.hidden = true;
      }
    };
  },
