// What somebody does in the console, page by page; any step that finds something else than it should throws.

(() => {
  const PATIENCE_MS = 20_000;
  const one = (selector) => document.querySelector(selector);
  const said = () => one("#message").textContent;

  function assert(truth, what) {
    if (!truth) throw new Error(`${what}; the console says ${JSON.stringify(said())}`);
  }

  async function until(what, test) {
    for (const began = performance.now(); ; ) {
      const found = test();
      if (found) return found;
      assert(performance.now() - began < PATIENCE_MS, `waited in vain for ${what}`);
      await new Promise((done) => setTimeout(done, 20));
    }
  }

  function fill(selector, text) {
    assert(one(selector), `there is no ${selector}`);
    one(selector).value = text;
  }

  function press(label, place = document) {
    const button = [...place.querySelectorAll("button")].find((each) => each.textContent === label);
    assert(button, `there is no button ${label}`);
    button.click();
  }

  async function go(page, selector) {
    location.hash = page;
    await until(`${selector} of ${page}`, () => one(`#page ${selector}`));
  }

  const row = (text) => [...document.querySelectorAll("tbody tr")].find((each) => each.textContent.includes(text));

  globalThis.walk = {
    async "asks for a token"() {
      await until("the demand", () => said().includes("asks for a token"));
      fill("#token", "sk_concord_d3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmctd3I");
      press("Use");
      await until("the refusal", () => said().includes("asks for a token"));
      assert(!one(".tile"), "something is shown to nobody");
    },

    async "shows the cluster"(token) {
      fill("#token", token);
      press("Use");
      await until("the name of the caller", () => one("#who").textContent !== "");
      assert(one("#token").value === "", "the token stays in its field");
      await until("the health", () => one(".tile b.good")?.textContent === "ready");
      assert(row("leader"), "a member that leads");
      // Rates need two looks, which are some seconds apart.
      await until("charts", () => one("svg polyline")?.getAttribute("points"));
    },

    async "creates, changes and shows keys as they are"() {
      const name = "user:<b>bold</b>/ä ?#%";
      const hostile = '{"big":18446744073709551615,"x":"<img src=x onerror=globalThis.injected=1>"}';
      await go("keys", "#new-key");
      fill("#new-key", name);
      fill("#format", "document");
      fill("textarea", hostile);
      press("Create");
      await until("the key", () => one("h2.key")?.textContent === name);
      assert(one("textarea").value.includes("18446744073709551615"), "an integer has lost digits");
      assert(!one("#page img") && !one("#page h2 b"), "what a key or a value says became markup");
      fill("textarea", '{"big":9007199254740993}');
      press("Store");
      await until("the change", () => said().includes("is stored"));
      // Read once more, so that what is shown is what is stored.
      await until("the second version", () => one("#page").textContent.includes("2 times since"));
      assert(one("textarea").value.includes("9007199254740993"), "an integer was rounded");
      press("History");
      await until("both versions", () => [...document.querySelectorAll("#page h2")].some((each) => each.textContent === "History"));
      fill("textarea", "{bad");
      press("Store");
      await until("the complaint", () => said().includes("This is no JSON"));
      // Somebody else writes meanwhile.
      const token = sessionStorage.getItem("concord-token");
      const path = `/api/v1/kv/${encodeURIComponent(name)}`;
      const headers = { authorization: `Bearer ${token}`, "content-type": "text/plain" };
      assert((await fetch(path, { method: "PUT", headers, body: "other" })).ok, "another write");
      fill("textarea", "{}");
      press("Store");
      await until("the conflict", () => said().includes("Somebody has changed this key"));
      await go("keys", "#new-key");
      await go(`keys/${encodeURIComponent(name)}`, "h2.key");
      press("Delete");
      await until("the end of the key", () => said().includes("is deleted"));
    },

    async "follows changes"() {
      await go("watch", "#watched");
      fill("#watched", "user:");
      fill("#from", "1");
      press("Watch");
      await until("the past", () => document.querySelectorAll("tbody tr").length === 4);
      assert(row("delete"), "a delete among the changes");
      press("Stop");
    },

    async "makes and revokes tokens"() {
      await go("tokens", "#name");
      fill("#name", "of-the-walk");
      fill("#role", "viewer");
      press("Create");
      await until("the secret", () => one("#secret")?.textContent.startsWith("sk_concord_"));
      press("Revoke", await until("the token", () => row("of-the-walk")));
      await until("its end", () => said().includes("is revoked") && !row("of-the-walk"));
    },

    async "makes and removes tenants"() {
      await go("tenants", "#id");
      fill("#id", "acme");
      fill("#max_keys", "-1");
      press("Create");
      await until("the refusal", () => said().includes("max_keys"));
      fill("#max_keys", "100");
      press("Create");
      await until("its quota", () => row("acme")?.textContent.includes("0 of 100"));
      press("Remove", row("acme"));
      await until("its end", () => said().includes("is removed") && !row("acme"));
    },
  };
  // Nobody is there to be asked.
  globalThis.confirm = () => true;
})();
