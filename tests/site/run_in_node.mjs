// Runs programs in Pyodide under Node as the page's worker does. Reads [[cell, …], …] from a file, writes what each cell
// printed; `node run_in_node.mjs RUNTIME_FOLDER PROGRAMS.json`.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [folder, programs] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(`${folder}/pyodide.mjs`));
const python = await loadPyodide({ indexURL: `${folder}/` });
await python.loadPackage("numpy", { messageCallback() {} });

const results = [];
for (const cells of JSON.parse(readFileSync(programs, "utf8"))) {
  const printed = [];
  for (const at of cells.keys()) {
    const lines = [], globals = python.toPy({ __name__: "listing" });
    try {
      for (const above of cells.slice(0, at)) await python.runPythonAsync(above, { globals });
      python.setStdout({ batched: line => lines.push(line) });
      globals.set("__name__", "__main__");
      await python.runPythonAsync(cells[at], { globals });
    } catch (error) {
      lines.push(String(error.message));
    }
    python.setStdout({ batched() {} });
    globals.destroy();
    printed.push(lines.join("\n").trimEnd());
  }
  results.push(printed);
}
console.log(JSON.stringify(results));
