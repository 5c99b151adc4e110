{% raw %}
// A form with a field for every column, filled with a row of the validation data.
function start(model) {
  const fields = make("div", {className: "fields"});
  for (const column of model.columns) {
    const example = model.example[column.name];
    let input, more = [];
    if (column.type === "boolean") {
      input = make("select", {}, ...["true", "false", ...(column.required ? [] : ["missing"])].map((value) =>
        make("option", {value: value === "missing" ? "" : value}, value)));
    } else if (column.type === "category") {
      const list = `list-${fields.children.length}`;
      input = make("input");
      const known = column.categories.filter((value) => value !== null);
      more = [make("datalist", {id: list}, ...known.map((value) => make("option", {value})))];
      input.setAttribute("list", list);  // the property of this name cannot be set
    } else {
      input = make("input", column.type === "number" ? {inputMode: "decimal"} : {});
    }
    input.name = column.name;
    input.value = example === null ? "" : String(example);
    if (!column.required) input.placeholder = "missing";
    fields.append(make("label", {}, column.name, input, ...more));
  }
  form.append(make("h2", {}, "A row"), fields, make("button", {}, "Predict"));
  form.onsubmit = async (event) => {
    event.preventDefault();
    const row = {};
    for (const column of model.columns) {
      const text = form.elements.namedItem(column.name).value.trim();
      if (text === "") row[column.name] = null;
      else if (column.type === "boolean") row[column.name] = text === "true";
      else if (column.type === "number") row[column.name] = Number.isNaN(Number(text)) ? text : Number(text);
      else row[column.name] = text;
    }
    const response = await sendJSON("predict", {rows: [row]});
    if (response) show(...prediction((await response.json()).predictions[0]));
  };
}
{% endraw %}
