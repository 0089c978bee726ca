/** The lines of printed trees without what differs from run to run: ids, times, the time axis, bars, short waits. */
export function printedFacts(output: string): string[] {
  const lines = output.split("\n").map(fact);
  return lines.filter((line) => !/^(0|TIME)?( TIME)*$/.test(line)).sort();
}

function fact(line: string): string {
  return line
    .replace(/[0-9a-f]{32}/, "ID")
    .replace(/\+?\b[\d.]+(µs|ms|s)\b/g, "TIME")
    .replace(/( · )?waited TIME/, "")
    .replace(/[│├└─░█▏·\s]+/g, " ")
    .trim();
}
