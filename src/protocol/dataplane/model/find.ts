/** Reading a persistent map. */
import { HashMap, Option } from "effect"

export const find = <K, V>(map: HashMap.HashMap<K, V>, key: K): V | undefined =>
  Option.getOrUndefined(HashMap.get(map, key))
