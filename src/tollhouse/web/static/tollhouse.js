/* What the pages do beyond what a browser does by itself: refresh marked fragments, open details in a dialog, show how far
   an upload has come. Everything here has a plain link or form behind it. */

import { morph } from "./morph.js";

const notice = document.getElementById("notice");
const dialog = document.getElementById("dialog");
const timers = new Map();

function say(text) {
  if (notice.textContent !== text) notice.textContent = text;
  notice.hidden = !text;
}

async function load(address) {
  const answer = await fetch(address, { headers: { accept: "text/html" }, cache: "no-store" });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  return { answer, page };
}

/* Refreshing */

const addressOf = (fragment) => fragment.dataset.src || location.href;

async function refresh(fragment) {
  try {
    const { answer, page } = await load(addressOf(fragment));
    const fresh = page.getElementById(fragment.id);
    if (!fragment.isConnected) return;
    if (answer.ok && fresh) {
      morph(fragment, fresh);
      say("");
    } else if (answer.status === 401 || answer.status === 403 || answer.redirected) {
      stop(fragment);
      say("This page has expired. Open it again to go on.");
    } else {
      say("Tollhouse could not be reached just now; trying again.");
    }
  } catch {
    say("Tollhouse could not be reached just now; trying again.");
  }
}

function start(fragment) {
  const seconds = Number(fragment.dataset.refresh);
  if (!seconds || timers.has(fragment)) return;
  const timer = setInterval(() => {
    if (!fragment.isConnected) stop(fragment);
    else if (!document.hidden) refresh(fragment);
  }, seconds * 1000);
  timers.set(fragment, timer);
}

function stop(fragment) {
  clearInterval(timers.get(fragment));
  timers.delete(fragment);
}

const fragments = (root = document) => root.querySelectorAll("[data-refresh]");
fragments().forEach(start);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) timers.forEach((_, fragment) => fragment.isConnected && refresh(fragment));
});

/* Details in a dialog */

async function open(link) {
  const { answer, page } = await load(link.href);
  const content = page.querySelector("main > article, main > [data-error]");
  if (!content || answer.redirected) {
    location.assign(link.href);
    return;
  }
  content.dataset.src = link.href;
  const close = document.createElement("button");
  close.className = "close quiet";
  close.setAttribute("aria-label", "Close");
  close.textContent = "✕";
  close.addEventListener("click", () => dialog.close());
  dialog.replaceChildren(close, document.importNode(content, true));
  dialog.showModal();
  fragments(dialog).forEach(start);
}

dialog.addEventListener("close", () => {
  fragments(dialog).forEach(stop);
  dialog.replaceChildren();
});
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});

document.addEventListener("click", (event) => {
  const plain = event.button === 0 && !(event.metaKey || event.ctrlKey || event.shiftKey || event.altKey);
  const link = plain && event.target.closest("a[data-dialog], a[data-refresh-now]");
  if (!link) return;
  event.preventDefault();
  if (link.dataset.refreshNow) refresh(document.getElementById(link.dataset.refreshNow));
  else open(link).catch(() => location.assign(link.href));
});

/* Buttons inside the details */

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.matches("form[data-act]")) return;
  event.preventDefault();
  try {
    await fetch(form.action, { method: "POST", body: new FormData(form), headers: { accept: "text/html" } });
  } catch {
    say("Tollhouse could not be reached just now; nothing was changed.");
  }
  fragments().forEach(refresh);
});

/* Uploads */

function upload(form, files) {
  const fault = form.querySelector(".fault");
  const shown = form.querySelector(".upload-progress");
  const bar = shown.querySelector("progress");
  const button = form.querySelector("button");
  const body = new FormData();
  const csrf = form.querySelector("[name=csrf]");
  if (csrf) body.append("csrf", csrf.value);
  for (const file of files) body.append("files", file);
  const request = new XMLHttpRequest();
  const end = (problem) => {
    shown.hidden = true;
    button.disabled = false;
    fault.hidden = !problem;
    fault.textContent = problem;
    if (!problem) {
      form.reset();
      fragments().forEach(refresh);
    }
  };
  request.upload.addEventListener("progress", ({ loaded, total }) => {
    bar.value = total ? Math.floor((loaded / total) * 100) : 0;
    shown.querySelector(".percent").textContent = `${bar.value} %`;
  });
  request.addEventListener("load", () => {
    if (request.status < 300) return end("");
    let said;
    try {
      said = JSON.parse(request.responseText).detail;
    } catch {
      said = "";
    }
    end(said || "The upload was not accepted.");
  });
  request.addEventListener("error", () => end("The connection broke off; nothing was uploaded. Try again."));
  request.open("POST", form.action);
  request.setRequestHeader("accept", "application/json");
  fault.hidden = true;
  shown.hidden = false;
  bar.value = 0;
  button.disabled = true;
  request.send(body);
}

for (const form of document.querySelectorAll("form[data-upload]")) {
  const field = form.querySelector("input[type=file]");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    upload(form, field.files);
  });
  for (const kind of ["dragenter", "dragover"]) {
    form.addEventListener(kind, (event) => {
      event.preventDefault();
      form.classList.add("over");
    });
  }
  for (const kind of ["dragleave", "drop"]) form.addEventListener(kind, () => form.classList.remove("over"));
  form.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length) upload(form, event.dataTransfer.files);
  });
}
