/**
 * The web room: texts that a browser gets, as they stand in files of their own. The bundle has them inside; run from the sources they are
 * read when they are asked for, so an edited page shows at the next request. It imports no other room.
 */
export { ASSET_FILES, assetText, type AssetName } from './assets.ts'
