/** The dataplane contract, against the model: in the same process, and over gRPC as a native one is spoken to. */
import { dataplaneContract } from "../contract/dataplane.ts"
import { layerModelHosts, layerServedModelHosts } from "../contract/model-hosts.ts"

dataplaneContract("the model", layerModelHosts)
dataplaneContract("the model over gRPC", layerServedModelHosts)
