/**
 * The serve room: everything that is shown over HTTP, read from the recorder. Nothing inside the folder is imported from outside
 * but through this file.
 */
export { type FlagInForce } from './flags.ts'
export { type HttpOptions, type HttpServer, startHttp } from './http.ts'
