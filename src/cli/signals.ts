/**
 * The first thing that the program does: SIGUSR2 ends no process of it. By default it would, and whoever asks the agents of many nodes for
 * more of their log must not hit one that is just starting, or a `release` half-way. `run` listens to it too, as soon as it has a log, and
 * takes up what came before it listened of those that stop it or make it read its configuration again.
 * Before these lines run, while Node starts and reads the program (a tenth of a second, more on a busy node), nobody can listen: a signal ends
 * the process, or is lost on process 1 of a container, which the kernel lets none end that it does not listen to (pid_namespaces(7)).
 */
import { rememberSignals } from './early-signals.ts'

if (process.argv[2] === 'run') rememberSignals(['SIGTERM', 'SIGINT', 'SIGHUP'])
process.on('SIGUSR2', () => undefined)
