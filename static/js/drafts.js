// Keeps what was typed into a long form while its tab is open: a session that ends, or a page that is left by mistake,
// loses nothing. Passwords and files are never kept; signing out, or somebody else signing in, forgets everything.
"use strict";

(() => {
  const PREFIX = "draft:", SENT = "draft-sent", DETOUR = "draft-detour";
  const store = window.sessionStorage;
  const LEFT_OUT = ["password", "file", "hidden", "submit", "button", "search"];

  const forget = (keep) => {
    Object.keys(store).filter((key) => key.startsWith(PREFIX) && !keep(key)).forEach((key) => store.removeItem(key));
  };

  const fieldsOf = (form) => [...form.elements].filter((field) => field.name && !LEFT_OUT.includes(field.type));

  const values = (form) => fieldsOf(form).map((field) => {
    if (field.type === "checkbox" || field.type === "radio") return [field.name, field.value, field.checked];
    if (field.type === "select-multiple") return [field.name, [...field.selectedOptions].map((one) => one.value)];
    return [field.name, field.value];
  });

  const same = (form, kept) => JSON.stringify(values(form)) === JSON.stringify(kept);

  const fill = (form, kept) => {
    const fields = fieldsOf(form);
    kept.forEach(([name, value, checked], place) => {
      const field = fields[place];
      if (!field || field.name !== name) return;
      if (field.type === "checkbox" || field.type === "radio") field.checked = checked;
      else if (field.type === "select-multiple") [...field.options].forEach((one) => { one.selected = value.includes(one.value); });
      else field.value = value;
    });
  };

  const tell = (form, key, before) => {
    const notice = document.createElement("div"), text = document.createElement("p");
    const discard = document.createElement("button");
    notice.className = "notice notice--waiting draft";
    notice.setAttribute("role", "status");
    text.textContent = "What you had typed was put back. It was not sent.";
    discard.type = "button";
    discard.className = "button";
    discard.textContent = "Discard it";
    discard.addEventListener("click", () => {
      fill(form, before);
      store.removeItem(key);
      notice.remove();
    });
    notice.append(text, discard);
    form.before(notice);
  };

  const watch = (form, key) => {
    const keep = () => { store.setItem(key, JSON.stringify(values(form))); };
    form.addEventListener("input", keep);
    form.addEventListener("change", keep);
    form.addEventListener("submit", () => {
      keep();
      store.setItem(SENT, key);
    });
  };

  const restore = (form, key, answered) => {
    const kept = store.getItem(key);
    if (!kept) return;
    if (answered) {
      store.removeItem(key);
      return;
    }
    const fields = JSON.parse(kept), before = values(form);
    if (fields.length !== before.length || same(form, fields)) return;
    fill(form, fields);
    const details = form.closest("details");
    if (details) details.open = true;
    tell(form, key, before);
  };

  document.addEventListener("DOMContentLoaded", () => {
    const person = document.body.dataset.person;
    if (!person) {
      store.setItem(DETOUR, "1");
      return;
    }
    forget((key) => key.startsWith(`${PREFIX}${person}:`));
    if (document.body.hasAttribute("data-unsent")) {
      store.removeItem(SENT);
      return;
    }
    const refused = document.querySelector(".error-summary");
    const sent = store.getItem(DETOUR) ? "" : store.getItem(SENT);
    store.removeItem(SENT);
    store.removeItem(DETOUR);
    if (sent && !refused) store.removeItem(sent);
    const forms = [...document.querySelectorAll('main form[method="post"]')].filter((form) => form.querySelector("textarea"));
    forms.forEach((form, place) => {
      const key = `${PREFIX}${person}:${location.pathname}:${place}`;
      if (refused) store.removeItem(key);
      else restore(form, key, key === sent);
      watch(form, key);
    });
    document.querySelectorAll("form[data-forgets]").forEach((form) => form.addEventListener("submit", () => forget(() => false)));
  });
})();
