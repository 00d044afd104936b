// Pixels made smaller, larger and turned to the bit as OpenCV and Pillow do it, so that answers are those of the verb.
//
// An image is { data, width, height, channels }, its bytes row by row.

// In float32, as OpenCV computes.
const f = Math.fround;

export function image(width, height, channels, data = new Uint8Array(width * height * channels)) {
  return { data, width, height, channels };
}

// Halves go to the even neighbour, as in Python and in OpenCV.
export function rounded(value) {
  const low = Math.floor(value);
  const rest = value - low;
  if (rest < 0.5 || (rest === 0.5 && low % 2 === 0)) return low;
  return low + 1;
}

function level(value) {
  return Math.min(255, Math.max(0, rounded(value)));
}

export function luma({ data, width, height, channels }) {
  if (channels === 1) return image(width, height, 1, data);
  const gray = image(width, height, 1);
  for (let at = 0, from = 0; at < gray.data.length; at += 1, from += 3) {
    // Pillow's whole numbers.
    gray.data[at] = (data[from] * 19595 + data[from + 1] * 38470 + data[from + 2] * 7471 + 0x8000) >> 16;
  }
  return gray;
}

// With edges repeated where the square reaches beyond the image.
export function cropped({ data, width, height, channels }, left, top, wide, high = wide) {
  const part = image(wide, high, channels);
  let at = 0;
  for (let y = top; y < top + high; y += 1) {
    const row = Math.min(Math.max(y, 0), height - 1) * width;
    for (let x = left; x < left + wide; x += 1) {
      const from = (row + Math.min(Math.max(x, 0), width - 1)) * channels;
      for (let channel = 0; channel < channels; channel += 1) part.data[at++] = data[from + channel];
    }
  }
  return part;
}

// By a whole number of pixels, as Pillow's `reduce`: what is left over at the edges is the mean of fewer.
export function reduced({ data, width, height, channels }, factor) {
  const small = image(Math.ceil(width / factor), Math.ceil(height / factor), channels);
  for (let y = 0, at = 0; y < small.height; y += 1) {
    const bottom = Math.min((y + 1) * factor, height);
    for (let x = 0; x < small.width; x += 1) {
      const right = Math.min((x + 1) * factor, width);
      const pixels = (bottom - y * factor) * (right - x * factor);
      const multiplier = Math.floor(2 ** 24 / pixels);
      for (let channel = 0; channel < channels; channel += 1) {
        let sum = pixels >> 1;
        for (let row = y * factor; row < bottom; row += 1) {
          for (let column = x * factor; column < right; column += 1) sum += data[(row * width + column) * channels + channel];
        }
        small.data[at++] = Math.floor((sum * multiplier) / 2 ** 24);
      }
    }
  }
  return small;
}

// `cv2.resize` with INTER_AREA, for sizes that aren't larger.
export function shrunk(from, width, height) {
  if (from.width % width === 0 && from.height % height === 0) return averaged(from, from.width / width, from.height / height);
  const { data, channels } = from;
  const small = image(width, height, channels);
  const across = shares(from.width, width);
  const line = new Float32Array(width * channels);
  const sums = new Float32Array(width * channels);
  let row = 0;
  const done = () => {
    for (let at = 0; at < sums.length; at += 1) small.data[row * sums.length + at] = level(sums[at]);
    sums.fill(0);
  };
  for (const { to, from: source, share } of shares(from.height, height)) {
    line.fill(0);
    for (const one of across) {
      const at = (source * from.width + one.from) * channels;
      for (let channel = 0; channel < channels; channel += 1) {
        line[one.to * channels + channel] += f(data[at + channel] * one.share);
      }
    }
    if (to !== row) {
      done();
      row = to;
    }
    for (let at = 0; at < sums.length; at += 1) sums[at] += f(line[at] * share);
  }
  done();
  return small;
}

// Which pixels lie under each new one, and their shares of it.
function shares(length, size) {
  const scale = 1 / (size / length);
  const found = [];
  for (let to = 0; to < size; to += 1) {
    const start = to * scale;
    const end = start + scale;
    const wide = Math.min(scale, length - start);
    const last = Math.min(Math.floor(end), length - 1);
    const first = Math.min(Math.ceil(start), last);
    if (first - start > 1e-3) found.push({ to, from: first - 1, share: f((first - start) / wide) });
    for (let from = first; from < last; from += 1) found.push({ to, from, share: f(1 / wide) });
    if (end - last > 1e-3) found.push({ to, from: last, share: f(Math.min(end - last, 1, wide) / wide) });
  }
  return found;
}

function averaged({ data, width, channels, height }, across, down) {
  const small = image(width / across, height / down, channels);
  const share = f(1 / (across * down));
  for (let y = 0, at = 0; y < small.height; y += 1) {
    for (let x = 0; x < small.width; x += 1) {
      for (let channel = 0; channel < channels; channel += 1) {
        let sum = 0;
        for (let row = y * down; row < (y + 1) * down; row += 1) {
          for (let column = x * across; column < (x + 1) * across; column += 1) {
            sum += data[(row * width + column) * channels + channel];
          }
        }
        // OpenCV has a way of its own for halves.
        small.data[at++] = across === 2 && down === 2 ? (sum + 2) >> 2 : level(f(sum * share));
      }
    }
  }
  return small;
}

// `cv2.resize` with INTER_LINEAR: weights of 11 bits.
export function enlarged(from, width, height) {
  const { data, channels } = from;
  const large = image(width, height, channels);
  const across = places(from.width, width, true);
  const down = places(from.height, height, false);
  for (let y = 0, at = 0; y < height; y += 1) {
    const rows = [down.first[y], down.first[y] + 1].map((row) => Math.min(Math.max(row, 0), from.height - 1) * from.width);
    for (let x = 0; x < width; x += 1) {
      const left = across.first[x];
      const right = Math.min(left + 1, from.width - 1);
      for (let channel = 0; channel < channels; channel += 1) {
        const [upper, lower] = rows.map(
          (row) =>
            data[(row + left) * channels + channel] * across.near[x] + data[(row + right) * channels + channel] * across.far[x],
        );
        large.data[at++] = (((down.near[y] * (upper >> 4)) >> 16) + ((down.far[y] * (lower >> 4)) >> 16) + 2) >> 2;
      }
    }
  }
  return large;
}

function places(length, size, clipped) {
  const scale = 1 / (size / length);
  const found = { first: [], near: [], far: [] };
  for (let to = 0; to < size; to += 1) {
    const place = f((to + 0.5) * scale - 0.5);
    let first = Math.floor(place);
    let rest = f(place - first);
    if (clipped && first < 0) [first, rest] = [0, 0];
    if (clipped && first >= length - 1) [first, rest] = [length - 1, 0];
    found.first.push(first);
    found.near.push(rounded(f(f(1 - rest) * 2048)));
    found.far.push(rounded(f(rest * 2048)));
  }
  return found;
}

// An image by a map [[a, b, c], [d, e, f]] of its pixel centres to those of size × size, antialiased, its edge carried on
// where the map leaves it: `mien.faces.squares.warped`.
export function warped(from, map, size) {
  const times = Math.max(1, Math.ceil(1 / Math.hypot(map[0][0], map[1][0]) - 1e-6));
  const finer = map.map(([x, y, shift]) => [x * times, y * times, shift * times + (times - 1) / 2]);
  const large = turned(from, finer, size * times);
  return times > 1 ? shrunk(large, size, size) : large;
}

// `cv2.warpAffine` with INTER_LINEAR and BORDER_REPLICATE: places of 10 bits, of which 5 weigh the pixels.
function turned({ data, width, height, channels }, [[a, b, c], [d, e, g]], size) {
  const scale = 1 / (a * e - b * d);
  const [ax, bx, ay, by] = [e * scale, b * -scale, d * -scale, a * scale];
  const [cx, cy] = [-ax * c - bx * g, -ay * c - by * g];
  const bits = (value) => rounded(value * 1024);
  const columns = Array.from({ length: size }, (_, x) => [bits(ax * x), bits(ay * x)]);
  const done = image(size, size, channels);
  const across = (x) => Math.min(Math.max(x, 0), width - 1) * channels;
  const down = (y) => Math.min(Math.max(y, 0), height - 1) * width * channels;
  for (let y = 0, at = 0; y < size; y += 1) {
    const startX = bits(bx * y + cx) + 16;
    const startY = bits(by * y + cy) + 16;
    for (const [moveX, moveY] of columns) {
      const fromX = (startX + moveX) >> 5;
      const fromY = (startY + moveY) >> 5;
      const [right, low] = [fromX & 31, fromY & 31];
      const [x0, x1] = [across(fromX >> 5), across((fromX >> 5) + 1)];
      const [y0, y1] = [down(fromY >> 5), down((fromY >> 5) + 1)];
      for (let channel = 0; channel < channels; channel += 1) {
        const upper = data[y0 + x0 + channel] * (32 - right) + data[y0 + x1 + channel] * right;
        const lower = data[y1 + x0 + channel] * (32 - right) + data[y1 + x1 + channel] * right;
        done.data[at++] = (upper * (32 - low) + lower * low + 512) >> 10;
      }
    }
  }
  return done;
}
