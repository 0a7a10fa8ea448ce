/**
 * The first thing that the program does: SIGUSR2 ends no process of it. By default it would, and whoever asks the agents of many nodes for
 * more of their log must not hit one that is just starting, or a `release` half-way. `run` listens to it too, as soon as it has a log.
 * Before this line runs, while Node starts and reads the program (a tenth of a second, more on a busy node), only process 1 of a container is
 * safe, which the kernel lets no signal end that it does not listen to (pid_namespaces(7)).
 */
process.on('SIGUSR2', () => undefined)
