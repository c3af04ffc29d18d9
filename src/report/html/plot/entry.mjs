// What the report page uses of Observable Plot; the bundle holds nothing else.
export {
  areaY, axisX, axisY, barX, barY, dot, gridX, gridY, lineX, lineY, link, plot, raster, rect, rectX, rectY, ruleX, ruleY, text, tickX, tip, pointer, pointerX,
} from "@observablehq/plot";
