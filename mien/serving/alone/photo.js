// A picture's pixels, as `mien.images` gives a photo: upright, over white, halved while its longer side stays long.

import { image, reduced } from "./resize.js";

// A canvas is no larger than this in some browsers, so a photo goes through one in strips.
const STRIP = 512;

// { pixels, scale } of a file or a canvas; `settings` has `reduced_side` and `max_pixels`.
export async function photoOf(given, settings) {
  // Colours as they are stored, as Pillow takes them.
  const opened = await createImageBitmap(given, { colorSpaceConversion: "none" });
  try {
    const { width, height } = opened;
    if (width * height > settings.max_pixels) {
      const most = settings.max_pixels / 1e6;
      throw new RangeError(`the image has ${width} × ${height} pixels; expected at most ${most} million`);
    }
    let factor = 1;
    while (factor < 8 && Math.floor(Math.max(width, height) / (2 * factor)) >= settings.reduced_side) factor *= 2;
    const pixels = image(Math.ceil(width / factor), Math.ceil(height / factor), 3);
    for (let top = 0, at = 0; top < height; top += STRIP) {
      const strip = drawn(opened, top, Math.min(STRIP, height - top));
      const { data } = factor > 1 ? reduced(strip, factor) : strip;
      pixels.data.set(data, at);
      at += data.length;
    }
    return { pixels, scale: Math.max(pixels.width, pixels.height) / Math.max(width, height) };
  } finally {
    opened.close();
  }
}

function drawn(opened, top, height) {
  const canvas = new OffscreenCanvas(opened.width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, height);
  context.drawImage(opened, 0, -top);
  const { data } = context.getImageData(0, 0, canvas.width, height);
  const strip = image(canvas.width, height, 3);
  for (let from = 0, at = 0; from < data.length; from += 4) {
    strip.data[at++] = data[from];
    strip.data[at++] = data[from + 1];
    strip.data[at++] = data[from + 2];
  }
  return strip;
}
