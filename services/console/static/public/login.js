const form = document.getElementById("login");
const error = document.getElementById("error");
const button = form.querySelector("button");

function fail(text) {
  error.textContent = text;
  error.hidden = false;
  form.elements.password.select();
}

async function submit() {
  const body = JSON.stringify({ user: form.elements.user.value.trim(), password: form.elements.password.value.trim() });
  const response = await fetch("/api/session", { method: "POST", headers: { "content-type": "application/json" }, body });
  if (response.ok) {
    location.replace("/");
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
