// Pictures with sharp, in one process that stays: one picture a line.
// Reads {"path", "way"} as JSON lines, answers {"ms": CPU of all threads, "sizes": bytes of what was made} for each.
import readline from "node:readline";
import sharp from "sharp";

sharp.concurrency(1);
sharp.cache(false);

const THUMBNAIL = [512, 512, { fit: "inside", withoutEnlargement: true }];
const PREVIEW = [2048, 2048, { fit: "inside", withoutEnlargement: true }];

const thumbnail = (from, options) => sharp(from, options).autoOrient().resize(...THUMBNAIL).webp({ quality: 80 }).toBuffer();
const preview = (from, options, more) =>
  sharp(from, options).autoOrient().resize(...PREVIEW).jpeg({ quality: 80, ...more }).toBuffer();

const WAYS = {
  // As the documentation has it.
  each: async (path) => [await thumbnail(path), await preview(path)],
  // As somebody writes it who knows that the decoder is what costs. sharp looks for the best Huffman tables
  // unless told not to, which the processor does not: without, both do the same work.
  once: async (path) => {
    const { data, info } = await sharp(path).autoOrient().resize(...PREVIEW).raw().toBuffer({ resolveWithObject: true });
    const raw = { raw: { width: info.width, height: info.height, channels: info.channels } };
    return [await thumbnail(data, raw), await preview(data, raw, { optimiseCoding: false })];
  },
  thumbnail: async (path) => [await thumbnail(path)],
};

console.log(JSON.stringify({ sharp: sharp.versions.sharp, libvips: sharp.versions.vips, node: process.versions.node }));
for await (const line of readline.createInterface({ input: process.stdin })) {
  const { path, way } = JSON.parse(line);
  const before = process.cpuUsage();
  const made = await WAYS[way](path);
  const { user, system } = process.cpuUsage(before);
  console.log(JSON.stringify({ ms: (user + system) / 1000, sizes: made.map((file) => file.length) }));
}
