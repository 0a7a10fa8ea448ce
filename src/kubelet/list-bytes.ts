/**
 * A device list as the bytes of a ListAndWatchResponse. Written straight into one buffer, and only what is new of it: the generated
 * encoder wants an object and a forked writer for each of up to 10,000 devices, which costs several times what sending the bytes
 * does and leaves it all to the collector. test/unit/kubelet/list-bytes.test.ts holds it to the generated codec, byte for byte.
 * Source: kubernetes staging/src/k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1/api.proto; protobuf.dev/programming-guides/encoding.
 */
import type { DeviceList } from './device-list.ts'
import { HEALTHY, UNHEALTHY } from './wire.ts'

/** ListAndWatchResponse.devices, Device.ID and Device.health: the field's number and "length-delimited". */
const DEVICES = (1 << 3) | 2
const ID = (1 << 3) | 2
const HEALTH = (2 << 3) | 2

const healthField = (health: string): Uint8Array => Uint8Array.from([HEALTH, health.length, ...Buffer.from(health)])
const HEALTHY_FIELD = healthField(HEALTHY)
const UNHEALTHY_FIELD = healthField(UNHEALTHY)

/** Tag and length of the device and of its ID. Lengths take one byte each, since a device's ID is ASCII and short (device-ids.ts). */
const HEADER_BYTES = 4

export interface EncodedList {
  readonly devices: DeviceList
  readonly bytes: Buffer
}

const NOTHING: EncodedList = { devices: [], bytes: Buffer.alloc(0) }

/**
 * Encodes a list. What it has in common with the beginning of `before`, device for device, is copied from there: capacity changes
 * at the end of a list, where the highest free devices are.
 */
export function encodeDeviceList(devices: DeviceList, before: EncodedList = NOTHING): EncodedList {
  let same = 0
  while (same < devices.length && devices[same] === before.devices[same]) same += 1
  const changed = devices.slice(same)
  const copied = before.bytes.length - sizeOf(before.devices.slice(same))
  const bytes = Buffer.allocUnsafeSlow(copied + sizeOf(changed))
  bytes.set(before.bytes.subarray(0, copied))
  let at = copied
  for (const { id, healthy } of changed) {
    const health = healthBytes(healthy)
    bytes[at++] = DEVICES
    bytes[at++] = HEADER_BYTES - 2 + id.length + health.length
    bytes[at++] = ID
    bytes[at++] = id.length
    for (let from = 0; from < id.length; from += 1) bytes[at++] = id.charCodeAt(from)
    for (let from = 0; from < health.length; from += 1) bytes[at++] = health[from] ?? 0
  }
  return { devices, bytes }
}

function sizeOf(devices: DeviceList): number {
  let size = 0
  for (const { id, healthy } of devices) size += HEADER_BYTES + id.length + healthBytes(healthy).length
  return size
}

const healthBytes = (healthy: boolean): Uint8Array => (healthy ? HEALTHY_FIELD : UNHEALTHY_FIELD)
