const form = document.getElementById("login");
const error = document.getElementById("error");
const button = form.querySelector("button");

function fail(text) {
  error.textContent = text;
  error.hidden = false;
  form.elements.password.select();
}

/** To the page, and to the moment that the link meant. */
function goOn() {
  location.replace(`/${location.search}`);
}

/** Browsers hold the cookie back when a link of another site is followed: whoever is logged in already goes on. */
async function skipIfLoggedIn() {
  const response = await fetch("/api/session").catch(() => null);
  if (response?.ok) goOn();
}

async function submit() {
  const body = JSON.stringify({ user: form.elements.user.value.trim(), password: form.elements.password.value.trim() });
  const response = await fetch("/api/session", { method: "POST", headers: { "content-type": "application/json" }, body });
  if (response.ok) {
    goOn();
    return;
  }
  const answer = await response.json().catch(() => ({}));
  if (response.status === 401) fail("That name or password is not right.");
  else if (response.status === 429) fail(`Too many wrong tries. Wait ${response.headers.get("retry-after") ?? "a few"} seconds, then try again.`);
  else fail(typeof answer.detail === "string" ? answer.detail : `The recorder answered ${response.status}.`);
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  button.disabled = true;
  error.hidden = true;
  try {
    await submit();
  } catch {
    fail("The recorder does not answer. Check that it runs and that this machine reaches it.");
  } finally {
    button.disabled = false;
  }
});

button.disabled = false; // until here the browser would have sent the form by itself, to nowhere
skipIfLoggedIn();
