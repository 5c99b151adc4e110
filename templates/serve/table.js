  table(about) {
    // Make the control for a column: numbers are typed, categories suggested, and true or false chosen.
    function controlFor(column, example) {
      const holds = column.holds ?? column.type;
      const value = example === null ? "" : String(example);
      if (holds === "boolean") {
        const options = ["", "true", "false"].map((text) => make("option", { value: text, selected: text === value }, text));
        return [make("select", {}, ...options), (text) => text === "true"];
      }
      const isNumber = holds === "number";
      const control = make("input", { type: isNumber ? "number" : "text", step: "any", value });
      if (column.type === "category") {
        const options = column.categories.filter((known) => known !== null).slice(0, 200);
        const list = make("datalist", { id: `known-${form.querySelectorAll("datalist").length}-${column.name}` });
        list.append(...options.map((known) => make("option", { value: known })));
        control.setAttribute("list", list.id);
        form.append(list);
      }
      return [control, isNumber ? Number : (text) => text];
    }

    const grid = make("div", { className: "fields" });
    const readers = {};
    for (const column of about.columns) {
      const [control, read] = controlFor(column, about.example[column.name]);
      readers[column.name] = () => (control.value.trim() === "" ? null : read(control.value));
      grid.append(field(column.name, control));
    }
    form.append(grid);
    return async () => {
      const row = Object.fromEntries(Object.entries(readers).map(([name, read]) => [name, read()]));
      const response = await sendJson("predict", row);
      if (response) result.replaceChildren(show(await response.json()));
    };
  },
