// The frames of a video file, as this browser plays it.

export async function frames(file) {
  const video = Object.assign(document.createElement("video"), { muted: true, playsInline: true, preload: "auto" });
  const canvas = document.createElement("canvas");
  const until = (kind) =>
    new Promise((come, fail) => {
      video.addEventListener(kind, come, { once: true });
      video.addEventListener("error", () => fail(new RangeError(UNREADABLE)), { once: true });
    });
  const opened = until("loadeddata");
  video.src = URL.createObjectURL(file);
  const close = () => {
    URL.revokeObjectURL(video.src);
    video.removeAttribute("src");
    video.load();
  };
  await opened.catch((error) => {
    close();
    throw error;
  });

  return {
    // What is shown at a time in seconds, on a canvas that the next call draws on again; null after the end.
    async at(time) {
      if (time >= video.duration) return null;
      if (time > 0) {
        const sought = until("seeked");
        video.currentTime = time;
        await sought;
        // Of a file that doesn't tell how long it is, a time after the end is taken for the end.
        if (video.currentTime < time - 1e-3) return null;
      }
      [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
      canvas.getContext("2d", { willReadFrequently: true }).drawImage(video, 0, 0);
      return canvas;
    },
    close,
  };
}

const UNREADABLE = "this is no video that this browser can play; expected MP4 or WebM";
