/** The program. */
import { main } from './cli/main.ts'

const code = await main(process.argv.slice(2))
if (code !== undefined) process.exitCode = code
