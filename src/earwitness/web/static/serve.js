"use strict";
(() => {
  const one = (selector, from = document) => from.querySelector(selector);
  const say = (text) => { one(".status").textContent = text; };
  const json = async (path) => {
    const answer = await fetch(path, { headers: { Accept: "application/json" } }).catch(() => null);
    return answer && answer.ok ? answer.json() : null;
  };

  /* Upload: a row for each file, one request after the other. */
  const form = one("form.drop");
  const make = (tag, text, more = {}) => Object.assign(
    document.createElement(tag), { textContent: text }, more);
  const addRow = (path) => {
    const row = document.createElement("tr");
    const bar = make("progress", "", { max: 100, value: 0, ariaLabel: `${path}: uploaded` });
    const state = make("td", "");
    state.append(bar);
    row.append(make("th", path, { scope: "row" }), state, make("td", ""));
    one(".uploads").append(row);
    return { row, bar, state };
  };
  const send = (file, bar) => new Promise((resolve) => {
    const data = new FormData();
    data.append("csrf", form.elements.csrf.value);
    data.append("files", file, file.name);
    const request = new XMLHttpRequest();
    request.open("POST", form.action);
    request.setRequestHeader("Accept", "application/json");
    request.upload.addEventListener("progress", (event) => {
      bar.value = (100 * event.loaded) / event.total;
    });
    request.addEventListener("load", () => {
      let reason = request.status >= 400 ? `status ${request.status}` : "";
      try {
        reason = JSON.parse(request.responseText).error || reason;
      } catch {
        /* the status says enough */
      }
      resolve(reason);
    });
    request.addEventListener("error", () => resolve("the file or the server could not be reached"));
    request.send(data);
  });
  const upload = async ({ file, path, row }) => {
    const limit = Number(form.dataset.maxBytes);
    const reason = file.size > limit
      ? `too large, expected at most ${limit / 1e6} MB` : await send(file, row.bar);
    if (reason) {
      row.state.textContent = "refused";
      row.row.lastElementChild.textContent = reason;
    } else {
      row.row.remove();
    }
    return reason && `${path}: ${reason}`;
  };
  const queue = [];
  let isSending = false;
  const list = (names) =>
    names.slice(0, 10).join(", ") + (names.length > 10 ? ` and ${names.length - 10} more` : "");
  const uploadAll = async (files, skipped) => {
    form.reset();
    const note = skipped.length ? `skipped, not audio: ${list(skipped)}` : "";
    if (!files.length) return say(note || "no file chosen");
    say(note);
    queue.push(...files.map(({ file, path }) => ({ file, path, row: addRow(path) })));
    if (isSending) return;
    isSending = true;
    const refused = [];
    let n = 0;
    for (; queue.length; n += 1) {
      const reason = await upload(queue.shift());
      if (reason) refused.push(reason);
      await poll();
    }
    isSending = false;
    const parts = [`${n - refused.length} uploaded`];
    if (refused.length) parts.push(`refused: ${list(refused)}`);
    if (note) parts.push(note);
    say(parts.join("; "));
  };

  /* Folders: audio by the ends of names; other files are named. Single files are always sent. */
  const choose = (found) => {
    const ends = form.dataset.suffixes.split(" ");
    const isAudio = ({ file, isOfFolder }) =>
      !isOfFolder || (!file.name.startsWith("._")
        && ends.some((end) => file.name.toLowerCase().endsWith(end)));
    const others = found.filter((one) => !isAudio(one)).map((one) => one.path);
    return uploadAll(found.filter(isAudio), others);
  };
  const within = async (entry, isOfFolder = false) => {
    if (entry.isFile) {
      const file = await new Promise((resolve) => { entry.file(resolve, () => resolve(null)); });
      return file ? [{ file, path: entry.fullPath.slice(1), isOfFolder }] : [];
    }
    const reader = entry.createReader();
    const found = [];
    for (;;) {
      /* A reader gives some hundred entries at a time, and none at the end. */
      const some = await new Promise((resolve) => { reader.readEntries(resolve, () => resolve([])); });
      if (!some.length) break;
      found.push(...some);
    }
    found.sort((a, b) => a.name.localeCompare(b.name));
    const nested = [];
    for (const inner of found) nested.push(...await within(inner, true));
    return nested;
  };
  const chosen = (input) => [...input.files].map((file) => ({
    file, path: file.webkitRelativePath || file.name, isOfFolder: file.webkitRelativePath !== "",
  }));

  /* The list of songs: names are text, never markup. */
  const refresh = async () => {
    const songs = await json("/songs.json");
    if (!songs) return false;
    const rows = songs.map((song) => {
      const row = document.createElement("tr");
      row.dataset.token = song.token;
      const head = make("th", "", { scope: "row" });
      head.append(make("a", song.name, { href: `/songs/${song.token}` }));
      row.append(head, make("td", song.progress), make("td", song.answer || ""));
      return row;
    });
    const body = one(".scored");
    const focused = document.activeElement && document.activeElement.closest("tr[data-token]");
    body.replaceChildren(...rows);
    if (focused) {
      const again = rows.find((row) => row.dataset.token === focused.dataset.token);
      if (again) one("a", again).focus();
    }
    return songs.some((song) => song.state !== "done");
  };
  let timer = 0;
  const poll = async () => {
    clearTimeout(timer);
    if (await refresh()) timer = setTimeout(poll, 700);
  };
  if (form) {
    one(".folder", form).hidden = !("webkitdirectory" in HTMLInputElement.prototype);
    one("#files").required = false;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      choose([...chosen(one("#files")), ...chosen(one("#folder"))]);
    });
    form.addEventListener("dragover", (event) => {
      event.preventDefault();
      form.classList.add("over");
    });
    form.addEventListener("dragleave", () => form.classList.remove("over"));
    form.addEventListener("drop", async (event) => {
      event.preventDefault();
      form.classList.remove("over");
      /* Entries are gone after the first wait. */
      const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry());
      choose((await Promise.all(entries.filter(Boolean).map((entry) => within(entry)))).flat());
    });
    poll();
  }

  /* A song: the page is loaded again once there is more to show; timelines seek. */
  const player = one(".player");
  if (!player) return;
  const { token, state, changes } = player.dataset;
  const watch = async () => {
    const now = await json(`/songs/${token}.json`);
    if (!now) return say("the song was deleted");
    if (now.state !== state || (now.changes || "") !== changes) return location.reload();
    if (now.state === "scoring" || now.changes === "scoring") say(`${now.progress} …`);
    setTimeout(watch, 700);
  };
  if (state !== "done" || changes === "waiting" || changes === "scoring") watch();

  const clock = (seconds) =>
    `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
  const audio = one("audio", player);
  const slider = one(".seek", player);
  const play = (seconds) => {
    if (!audio.isConnected) return say("this browser cannot play the file");
    audio.currentTime = seconds;
    audio.play().catch(() => {});
    say(`playing from ${clock(seconds)}`);
  };

  /* Timelines: the ground behind the scores is the widest mark, and spans the whole song. */
  const timelines = [...document.querySelectorAll("figure[data-duration]")].flatMap((figure) => {
    const marks = [...figure.querySelectorAll("svg path[data-tip], svg rect[data-tip]")];
    if (!marks.length) return [];
    const width = (mark) => mark.getBBox().width;
    const ground = marks.reduce((widest, mark) => (width(mark) > width(widest) ? mark : widest));
    const { x, width: length } = ground.getBBox();
    const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    const chart = one("svg", figure);
    const high = Math.max(...marks.map((mark) => mark.getBBox().y + mark.getBBox().height));
    line.setAttribute("class", "playhead");
    line.setAttribute("y1", Math.min(...marks.map((mark) => mark.getBBox().y)));
    line.setAttribute("y2", high);
    ground.parentElement.parentElement.append(line);
    const duration = Number(figure.dataset.duration);
    const seek = (at) => {
      const box = ground.getBoundingClientRect();
      play(duration * Math.min(1, Math.max(0, (at - box.left) / box.width)));
    };
    chart.addEventListener("click", (event) => seek(event.clientX));
    chart.addEventListener("keydown", (event) => {
      const mark = one("[data-tip].on", chart);
      if (event.key === "Enter" && mark) seek(mark.getBoundingClientRect().left);
    });
    return [(seconds) => {
      const at = x + length * Math.min(1, seconds / duration);
      line.setAttribute("x1", at);
      line.setAttribute("x2", at);
    }];
  });

  /* The waveform is a slider; it and the timelines show the position. */
  const show = () => {
    const seconds = audio.currentTime;
    for (const move of timelines) move(seconds);
    if (!slider) return;
    slider.value = seconds;
    slider.setAttribute("aria-valuetext", `${clock(seconds)} of ${clock(Number(slider.max))}`);
  };
  let frame = 0;
  const follow = () => {
    show();
    frame = audio.paused ? 0 : requestAnimationFrame(follow);
  };
  audio.addEventListener("play", () => { frame = frame || requestAnimationFrame(follow); });
  audio.addEventListener("seeked", show);
  show();
  if (!slider) return;
  slider.disabled = false;
  audio.addEventListener("error", () => { slider.disabled = true; });
  slider.addEventListener("input", () => { audio.currentTime = Number(slider.value); });
  slider.addEventListener("click", () => play(Number(slider.value)));
  slider.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 5, ArrowUp: 5, ArrowLeft: -5, ArrowDown: -5 }[event.key];
    if (step) {
      audio.currentTime = Math.min(Number(slider.max), Math.max(0, audio.currentTime + step));
    } else if (event.key === " ") {
      if (audio.paused) audio.play().catch(() => {});
      else audio.pause();
    } else {
      return;
    }
    event.preventDefault();
  });
})();
