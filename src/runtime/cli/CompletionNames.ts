/**
 * What the generated completion can't know: kinds, and the names of what a region has. For bash: asks the generated
 * function first, and the region only where that has nothing to offer. A region that does not answer offers nothing.
 */
import { findKind, kinds } from "#protocol/resource/Kinds.ts"

const nicNames = findKind("nic")?.plural ?? ""
const nodeNames = findKind("node")?.plural ?? ""

export const bashNames = (): string => `
_ferrite_names() { "\${COMP_WORDS[0]}" get "$1" -o name 2>/dev/null | sed 's|.*/||'; }

_ferrite_all() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" prev="\${COMP_WORDS[COMP_CWORD-1]}" words=""
  _ferrite
  [[ \${#COMPREPLY[@]} == 0 && "$cur" != -* ]] || return 0
  case "\${COMP_WORDS[1]}:$prev" in
    attach:--node) words=$(_ferrite_names ${nodeNames}) ;;
    attach:*|detach:*) [[ "$prev" == -* ]] || words=$(_ferrite_names ${nicNames}) ;;
    get:get) words="${[...kinds.map(({ plural }) => plural), "nics", "routes"].join(" ")}" ;;
    describe:describe|delete:delete) words="${[...kinds.map(({ plural }) => plural), "nics"].join(" ")}" ;;
    get:*|describe:*|delete:*) [[ "$prev" == -* ]] || words=$(_ferrite_names "\${COMP_WORDS[2]}") ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}

complete -F _ferrite_all ferrite ./ferrite
`
