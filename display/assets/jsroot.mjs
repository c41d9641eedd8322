// What of JSROOT is taken: `make jsroot` packs it into jsroot.min.js, with the modules that it needs of these.
export { version, settings, gStyle, create, createHistogram, createTHStack } from "./node_modules/jsroot/modules/core.mjs";
export { cleanup, resize } from "./node_modules/jsroot/modules/base/ObjectPainter.mjs";
export { addColor, getColor } from "./node_modules/jsroot/modules/base/colors.mjs";
export { TH1Painter } from "./node_modules/jsroot/modules/hist2d/TH1Painter.mjs";
export { TH2Painter } from "./node_modules/jsroot/modules/hist2d/TH2Painter.mjs";
export { THStackPainter } from "./node_modules/jsroot/modules/hist2d/THStackPainter.mjs";
