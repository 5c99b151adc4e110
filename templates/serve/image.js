{% raw %}
// A field for images, to choose or to drop.
function start() {
  const input = make("input", {type: "file", name: "image", accept: "image/*", multiple: true});
  const drop = make("div", {className: "drop"}, make("label", {}, "Drop images here, or choose them", input));
  form.append(drop);
  drop.ondragover = (event) => { event.preventDefault(); drop.classList.add("over"); };
  drop.ondragleave = () => drop.classList.remove("over");
  drop.ondrop = (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    classify([...event.dataTransfer.files]);
  };
  input.onchange = () => classify([...input.files]);
}

async function classify(files) {
  if (!files.length) return;
  const body = new FormData();
  for (const file of files) body.append("files", file);
  const response = await send("predict", {body});
  if (!response) return;
  const found = (await response.json()).predictions;
  show(make("div", {className: "images"}, ...found.map((columns, number) => make("figure", {style: "margin: 0"},
    make("img", {src: URL.createObjectURL(files[number]), alt: files[number].name}),
    make("figcaption", {}, files[number].name, ...prediction(columns))))));
}
{% endraw %}
