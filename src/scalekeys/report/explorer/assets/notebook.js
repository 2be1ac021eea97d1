export default {
  render({ model, el }) {
    el.innerHTML = model.get("markup");
    mount(el.querySelector("[data-explorer]"), JSON.parse(model.get("data")));
  },
};
