// Sends the files of a model in pieces and goes on where it stopped. Without this script the form sends them itself.
"use strict";

(() => {
  const PIECE = 8 * 1024 * 1024;
  const PAUSES = [1, 2, 4, 8, 15, 30, 30, 60, 60, 60];
  const ROWS = 200;

  const sized = (bytes) => {
    let value = bytes;
    for (const unit of ["bytes", "kB", "MB", "GB"]) {
      if (value < 1000) return `${unit === "bytes" || value >= 100 ? value.toFixed(0) : value.toFixed(1)} ${unit}`;
      value /= 1000;
    }
    return `${value.toFixed(1)} TB`;
  };
  const wait = (seconds) => new Promise((resolve) => { setTimeout(resolve, 1000 * seconds); });
  const pathOf = (file) => file.webkitRelativePath || file.name;

  class Refusal extends Error {
    constructor(status, body) {
      super(body.error || `The server answered ${status}.`);
      this.status = status;
      this.remedy = body.remedy || "Reload the page and try again.";
      this.file = body.file || "";
    }
  }
  class Lost extends Error {}

  // One request. An answer that is no success becomes a Refusal; no answer, or a server in trouble, becomes Lost.
  const ask = (method, address, { token, body = null, type = null, progress = null }) => new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, address);
    request.setRequestHeader("X-CSRFToken", token);
    request.setRequestHeader("Accept", "application/json");
    if (type) request.setRequestHeader("Content-Type", type);
    if (progress) request.upload.addEventListener("progress", (event) => progress(event.loaded));
    request.addEventListener("error", () => reject(new Lost()));
    request.addEventListener("load", () => {
      let answer = {};
      try {
        answer = JSON.parse(request.responseText);
      } catch {
        if (request.status < 500) answer = { error: "The server's answer could not be read.", remedy: "Sign in again, then reload the page." };
      }
      if (request.status >= 200 && request.status < 300 && !answer.error) resolve(answer);
      else if (request.status >= 500 && request.status !== 507) reject(new Lost());
      else reject(new Refusal(request.status, answer));
    });
    request.send(body);
  });

  const told = (place, error) => {
    const box = document.createElement("div");
    box.className = "error-summary";
    box.setAttribute("role", "alert");
    box.tabIndex = -1;
    const title = document.createElement("h2");
    title.textContent = "This could not be done";
    const text = document.createElement("p");
    const strong = document.createElement("strong");
    strong.textContent = error.file ? `${error.file}: ${error.message}` : error.message;
    text.append(strong, ` ${error.remedy || ""}`);
    box.append(title, text);
    place.replaceChildren(box);
    box.focus();
  };

  // What the page shows of an upload: one bar for all, a row for each file, and a sentence.
  class Board {
    constructor(section) {
      this.section = section;
      this.bar = section.querySelector("[data-upload-bar]");
      this.status = section.querySelector("[data-upload-status]");
      this.trouble = section.querySelector("[data-upload-trouble]");
      this.body = section.querySelector("[data-upload-files]");
      this.rows = new Map();
      this.began = performance.now();
      this.spoke = -Infinity;
    }

    begin(files) {
      this.total = files.reduce((sum, file) => sum + file.size, 0);
      this.arrived = new Map(files.map((file) => [file.path, file.received]));
      this.before = files.reduce((sum, file) => sum + file.received, 0);
      this.body.replaceChildren();
      files.slice(0, ROWS).forEach((file) => {
        const row = document.createElement("tr");
        const [name, size, bar] = ["td", "td", "td"].map((tag) => document.createElement(tag));
        const progress = document.createElement("progress");
        name.textContent = file.path;
        size.textContent = sized(file.size);
        size.className = "num";
        progress.max = Math.max(1, file.size);
        progress.value = file.size ? file.received : 1;
        progress.setAttribute("aria-label", file.path);
        bar.append(progress);
        row.append(name, size, bar);
        this.body.append(row);
        this.rows.set(file.path, progress);
      });
      this.section.hidden = false;
      this.show();
    }

    set(path, received) {
      this.arrived.set(path, received);
      const bar = this.rows.get(path);
      if (bar && bar.max > 1) bar.value = received;
      this.show();
    }

    show() {
      const done = [...this.arrived.values()].reduce((sum, value) => sum + value, 0);
      this.bar.max = Math.max(1, this.total);
      this.bar.value = this.total ? done : 1;
      this.bar.setAttribute("aria-valuetext", `${sized(done)} of ${sized(this.total)}`);
      const seconds = (performance.now() - this.began) / 1000;
      const rate = seconds > 1 ? (done - this.before) / seconds : 0;
      const text = `${sized(done)} of ${sized(this.total)}${rate > 0 ? `, ${sized(rate)} a second` : ""}`;
      // A sentence that a screen reader speaks is not changed with every piece.
      if (performance.now() - this.spoke > 2000 || done === this.total) {
        this.status.textContent = text;
        this.spoke = performance.now();
      }
    }

    say(text) {
      this.status.textContent = text;
      this.spoke = performance.now() + 3000;
    }
  }

  // Sends what has not arrived. `chosen` maps the promised path to the file of this computer.
  class Upload {
    constructor({ files, finish, href, token, board }) {
      Object.assign(this, { address: files, finish, href, token, board });
    }

    state() {
      return ask("GET", this.address, { token: this.token });
    }

    async patiently(act) {
      for (let attempt = 0; ; attempt += 1) {
        try {
          return await act();
        } catch (error) {
          if (!(error instanceof Lost) || attempt >= PAUSES.length) throw error;
          this.board.say(`The connection was lost. Trying again in ${PAUSES[attempt]} s.`);
          await wait(PAUSES[attempt]);
        }
      }
    }

    async run(state, chosen) {
      this.board.begin(state.files);
      for (const file of state.files) {
        if (file.received < file.size) await this.send(file, chosen.get(file.path));
      }
      this.board.say("Everything has arrived. The checks begin.");
      await this.patiently(() => ask("POST", this.finish, { token: this.token })).catch(async (error) => {
        // The answer may have been lost after the server took note of it.
        if (error.status !== 409 || (await this.state()).status === "receiving") throw error;
      });
    }

    async send(file, source) {
      let received = file.received;
      while (received < file.size) {
        received = await this.patiently(async () => {
          try {
            return await this.piece(file, source, received);
          } catch (error) {
            if (error instanceof Refusal && error.status !== 409) throw error;
            // Bytes may have arrived although the answer did not: ask before sending them again.
            const state = await this.state();
            const now = state.files.find((item) => item.path === file.path);
            if (state.status !== "receiving" || !now || now.received === received) throw error;
            return now.received;
          }
        });
        this.board.set(file.path, received);
      }
    }

    async piece(file, source, offset) {
      const address = `${this.address}?path=${encodeURIComponent(file.path)}&offset=${offset}`;
      const answer = await ask("PUT", address, {
        token: this.token,
        body: source.slice(offset, offset + PIECE),
        type: "application/octet-stream",
        progress: (sent) => this.board.set(file.path, Math.min(file.size, offset + sent)),
      });
      return answer.received;
    }
  }

  const leaving = (event) => event.preventDefault();

  const follow = async (upload, state, chosen, trouble) => {
    addEventListener("beforeunload", leaving);
    try {
      await upload.run(state, chosen);
      removeEventListener("beforeunload", leaving);
      location.assign(upload.href);
    } catch (error) {
      removeEventListener("beforeunload", leaving);
      const lost = error instanceof Lost || error instanceof DOMException;
      told(trouble, lost ? { message: "The upload stopped.", remedy: "Reload the page, choose the same files again, and it goes on where it stopped." } : error);
    }
  };

  // The files that were promised, among those that were chosen now: by their path, else by their name alone.
  const matched = (promised, files) => {
    const byPath = new Map(files.map((file) => [pathOf(file), file]));
    const byName = new Map();
    files.forEach((file) => byName.set(file.name, [...(byName.get(file.name) || []), file]));
    const chosen = new Map();
    for (const item of promised) {
      const same = byName.get(item.path.split("/").pop()) || [];
      const file = byPath.get(item.path) || (same.length === 1 ? same[0] : null);
      if (file) chosen.set(item.path, file);
      if (item.received >= item.size) continue;
      if (!file) throw new Refusal(0, { error: "This file is not among those that were chosen.", remedy: "Choose it too.", file: item.path });
      if (file.size !== item.size) {
        throw new Refusal(0, { error: `It has ${file.size} bytes; ${item.size} were promised.`, remedy: "It changed: discard this upload and begin a new one.", file: item.path });
      }
    }
    return chosen;
  };

  const watchForm = (form) => {
    const folder = form.querySelector("[data-upload-folder]");
    const errors = document.querySelector("[data-upload-errors]");
    const board = new Board(document.querySelector("[data-upload-progress]"));
    folder.hidden = false;
    form.addEventListener("submit", async (event) => {
      const fields = form.elements;
      const files = [...fields.upload.files, ...folder.querySelector("input").files];
      if (fields.kind.value !== "upload" || !files.length) return; // The server answers these.
      event.preventDefault();
      const button = form.querySelector("button.button--primary");
      if (!button) return;
      button.disabled = true;
      const token = fields.csrfmiddlewaretoken.value;
      const promise = {
        label: fields.label.value,
        adapter: fields.adapter.value,
        notes: fields.notes.value,
        backbone: fields.backbone.value,
        files: files.map((file) => ({ path: pathOf(file), size: file.size })),
      };
      let state;
      try {
        state = await ask("POST", form.dataset.upload, { token, body: JSON.stringify(promise), type: "application/json" });
      } catch (error) {
        button.disabled = false;
        told(errors, error instanceof Lost ? { message: "The server did not answer.", remedy: "Try again in a moment." } : error);
        return;
      }
      document.querySelectorAll(".error-summary").forEach((box) => box.remove());
      form.hidden = true;
      // From here on a reload leads to the page of this upload, where it can go on.
      history.replaceState(null, "", state.href);
      const chosen = new Map(files.map((file) => [pathOf(file), file]));
      const upload = new Upload({ files: `${state.href}files/`, finish: `${state.href}finish/`, href: state.href, token, board });
      await follow(upload, state, chosen, board.trouble);
    });
  };

  const watchResume = (place) => {
    const errors = document.querySelector("[data-upload-errors]");
    const section = document.querySelector("[data-upload-progress]");
    place.hidden = false;
    place.querySelector("[data-upload-go]").addEventListener("click", async () => {
      const files = [...place.querySelectorAll("[data-upload-input]")].flatMap((input) => [...input.files]);
      const board = new Board(section);
      const token = place.querySelector("[name=csrfmiddlewaretoken]").value;
      const { files: address, finish, href } = place.dataset;
      const upload = new Upload({ files: address, finish, href, token, board });
      let state;
      let chosen;
      try {
        state = await upload.state();
        if (state.status !== "receiving") {
          location.assign(href);
          return;
        }
        chosen = matched(state.files, files);
      } catch (error) {
        told(errors, error instanceof Lost ? { message: "The server did not answer.", remedy: "Try again in a moment." } : error);
        return;
      }
      errors.replaceChildren();
      document.querySelector("[data-arrived]").hidden = true;
      await follow(upload, state, chosen, board.trouble);
    });
  };

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("form[data-upload]").forEach(watchForm);
    document.querySelectorAll("[data-upload-resume]").forEach(watchResume);
  });
})();
