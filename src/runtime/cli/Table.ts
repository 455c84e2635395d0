/**
 * Tables as kubectl prints them: a line of capitals, columns three spaces apart, no borders, no trailing blanks.
 */
import CliTable from "cli-table3"

const gap = 3

const borderless = {
  top: "",
  "top-mid": "",
  "top-left": "",
  "top-right": "",
  bottom: "",
  "bottom-mid": "",
  "bottom-left": "",
  "bottom-right": "",
  left: "",
  "left-mid": "",
  mid: "",
  "mid-mid": "",
  right: "",
  "right-mid": "",
  middle: "",
}

type Row = ReadonlyArray<string>

/** Width of each column, without the gap, to hold these rows. */
export const widths = (
  rows: ReadonlyArray<Row>,
  least: ReadonlyArray<number> = [],
): ReadonlyArray<number> => {
  const columns = Math.max(least.length, ...rows.map((row) => row.length))
  return Array.from({ length: columns }, (_, column) =>
    Math.max(least[column] ?? 0, ...rows.map((row) => row[column]?.length ?? 0)),
  )
}

/** Control characters of foreign text would move the cursor of whoever looks. */
// oxlint-disable-next-line no-control-regex
const printable = (text: string): string => text.replace(/[\u0000-\u001f\u007f-\u009f]/g, " ")

/** One line a row. An empty cell shows as `<none>`. */
export const renderRows = (rows: ReadonlyArray<Row>, least: ReadonlyArray<number> = []): string => {
  if (rows.length === 0) return ""
  const cells = rows.map((row) => row.map((cell) => (cell === "" ? "<none>" : printable(cell))))
  const table = new CliTable({
    chars: borderless,
    style: { head: [], border: [], "padding-left": 0, "padding-right": gap },
    colWidths: widths(cells, least).map((width) => width + gap),
  })
  table.push(...cells.map((row) => [...row]))
  return table
    .toString()
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n")
}

export interface Table {
  readonly columns: Row
  readonly rows: ReadonlyArray<Row>
}

export const render = (table: Table, headers = true): string =>
  renderRows(headers ? [table.columns, ...table.rows] : table.rows)
