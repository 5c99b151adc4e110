{% raw %}
// A prompt, continued piece by piece.
function start(model) {
  const settings = model.text;
  const prompt = make("textarea", {name: "prompt", value: settings.example});
  const field = (name, text, value) => make("label", {}, text, make("input", {name, value, inputMode: "decimal"}));
  const stop = make("button", {type: "button", className: "quiet", hidden: true}, "Stop");
  form.append(
    make("label", {}, "Prompt", prompt),
    make("div", {className: "fields", style: "margin-top: .75rem"},
      field("new_tokens", "Tokens to generate", settings.new_tokens),
      field("temperature", "Temperature", settings.temperature),
      field("top_k", "Most likely tokens to sample from", settings.top_k),
      field("seed", "Seed (empty: another text each time)", "")),
    make("button", {}, "Continue"), stop);
  form.onsubmit = async (event) => {
    event.preventDefault();
    const body = {prompt: prompt.value};
    for (const name of ["new_tokens", "temperature", "top_k", "seed"]) {
      const text = form.elements[name].value.trim();
      if (text !== "") body[name] = Number.isNaN(Number(text)) ? text : Number(text);
    }
    const ended = new AbortController();
    const response = await sendJSON("stream", body, ended.signal);
    if (!response) return;
    const text = make("pre", {}, make("b", {}, body.prompt));
    show(text);
    stop.hidden = false;
    stop.onclick = () => ended.abort();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    try {
      for (let {done, value} = await reader.read(); !done; {done, value} = await reader.read()) text.append(value);
    } catch (error) {
      if (error.name !== "AbortError") throw error;
    } finally {
      stop.hidden = true;
    }
  };
}
{% endraw %}
