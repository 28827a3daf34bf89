/* Change one element into another, keeping what is the same: focus, scroll, selection and listeners stay where they are.
   Children are matched by data-key or id first, then by their place. */

const keyOf = (node) => node.nodeType === Node.ELEMENT_NODE ? node.dataset?.key || node.id || "" : "";

const alike = (one, other) =>
  one.nodeType === other.nodeType && one.nodeName === other.nodeName && keyOf(one) === keyOf(other);

export function morph(from, to) {
  if (from.nodeType !== Node.ELEMENT_NODE) {
    if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue;
    return;
  }
  if (from.hasAttribute("data-chart")) {
    chart(from, to);
    return;
  }
  for (const { name } of [...from.attributes]) if (!to.hasAttribute(name)) from.removeAttribute(name);
  for (const { name, value } of to.attributes) if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  const keyed = new Map([...from.children].filter(keyOf).map((child) => [keyOf(child), child]));
  let at = from.firstChild;
  for (const wanted of [...to.childNodes]) {
    const known = keyOf(wanted) ? keyed.get(keyOf(wanted)) : at;
    if (known && alike(known, wanted)) {
      if (known === at) at = at.nextSibling;
      else from.insertBefore(known, at);
      morph(known, wanted);
    } else {
      from.insertBefore(document.importNode(wanted, true), at);
    }
  }
  while (at) {
    const following = at.nextSibling;
    at.remove();
    at = following;
  }
}

/* A drawn chart is not taken apart: its figures are replaced, and chart.js draws them. */
function chart(from, to) {
  const [data, fresh] = [from, to].map((figure) => figure.querySelector("script"));
  if (data.textContent === fresh.textContent) return;
  data.textContent = fresh.textContent;
  from.dispatchEvent(new CustomEvent("figures", { bubbles: true }));
}
