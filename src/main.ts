/** The program. */
import './cli/signals.ts'
import { main } from './cli/main.ts'

const code = await main(process.argv.slice(2))
if (code !== undefined) process.exitCode = code
// While Node takes itself down it gives signals their default action back, and one that came then would end a process that has done its
// work. The last listener of all ends it before that: everything has been written by now, and the log was flushed by the listeners before.
process.on('exit', (exitCode) => process.exit(exitCode))
