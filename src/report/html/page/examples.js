// Examples: what networks answered, pictures side by side, texts coloured by how much each token surprised.

function drawExamples() {
  const section = byId("examples");
  section.hidden = DATA.examples.length === 0;
  if (section.hidden) return;
  section.replaceChildren(el("h2", {}, "Examples"), el("div", { class: "examples" }, DATA.examples.map((example) => {
    const pictures = (example.pictures ?? []).map(({ is, picture }) =>
      el("div", { class: "picture" }, el("img", { src: picture, alt: `${is} of ${example.id}`, load: ({ target }) => target.classList.toggle("small", target.naturalWidth < 100) }), el("span", {}, is)));
    const known = (example.tokens ?? []).filter(([, bits]) => bits !== null);
    const tokens = (example.tokens ?? []).map(([token, bits]) =>
      el("span", { class: "token", style: bits === null ? null : `--surprise:${Math.min(bits / 10, 1).toFixed(2)}`, title: bits === null ? "not scored" : `${bits.toFixed(1)} bits` }, token));
    const mean = known.length ? ` · ${(sum(known.map(([, bits]) => bits)) / known.length).toFixed(2)} bits a token on average` : "";
    return el("article", { class: tokens.length ? "example text" : "example" },
      el("h3", {}, example.id), el("p", { class: "card-note" }, `${example.network}${mean}`),
      pictures.length > 0 && el("div", { class: "pictures" }, pictures),
      tokens.length > 0 && el("p", { class: "tokens" }, tokens),
      (example.lines ?? []).length > 0 && el("pre", {}, example.lines.join("\n")));
  })), el("p", { class: "caption" }, DATA.examples.some(({ tokens }) => tokens?.length)
    ? "Answers of the networks to inputs as they saw them. The stronger a token is coloured, the more bits it took the network by surprise."
    : "Answers of the networks to inputs as they saw them."));
}
